"""The reviews in force: those that no later one replaces or undoes. Everything that uses reviews asks here or the store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from bioclip_plugin.store.records import Review
from bioclip_plugin.store.undone import Statement, not_in_force, undone_uid


class Dated(Protocol):
    """A review, or a row of one."""

    @property
    def id(self) -> int: ...
    @property
    def reviewer(self) -> str: ...
    @property
    def verdict(self) -> Any: ...
    @property
    def taxon(self) -> Any: ...
    @property
    def reviewed_at(self) -> Any: ...


Said = TypeVar("Said", bound=Dated)


def in_force(reviews: Iterable[Review], *, by_reviewer: bool = False) -> list[Review]:
    """Return the reviews that no later one replaces or undoes, in the order of their numbers.

    A later review of the same box, image or event replaces the earlier ones, whoever made it. Several reviews by one person at
    one moment are all in force: an image may hold several taxa. Of which subject a review counts where several apply is the
    reader's choice; a box comes before its image, and an image before its event.

    Args:
        reviews: all reviews of their images and events, undone ones and those that undo included or not.
        by_reviewer: True if a review replaces only those by the same person, as for the agreement of reviewers.
    """
    every = list(reviews)
    silent = not_in_force(Statement(one.id, one.uid, _image_of(one), undone_uid(one.details)) for one in every)
    groups: dict[Hashable, list[Review]] = {}
    for one in every:
        if one.id not in silent:
            key = (subject_of(one), reviewer_key(one.reviewer) if by_reviewer else None)
            groups.setdefault(key, []).append(one)
    return sorted((one for group in groups.values() for one in newest_statements(group)), key=lambda one: one.id)


def newest_statements(reviews: Sequence[Said], *, now: Any = None) -> list[Said]:
    """Return the last reviews by the newest reviewer of one subject: several if an image holds several taxa at one moment.

    A moment after today is a mistake, and counts as today: otherwise no correction could ever replace that review.

    Args:
        reviews: of one subject, without undone ones.
        now: the present moment, of the type of their ``reviewed_at``; None is now, for aware moments.
    """
    if not reviews:
        return []
    now = datetime.now(UTC) if now is None else now
    last = max(reviews, key=lambda one: (min(one.reviewed_at, now), one.id))
    same = [one for one in reviews if one.reviewed_at == last.reviewed_at and one.reviewer == last.reviewer]
    return list({(one.verdict, one.taxon): one for one in same}.values())


def newest_of_each(reviews: Iterable[Said], subject: Callable[[Said], Hashable], now: Any) -> dict[Hashable, Said]:
    """Return the newest review of each subject, for reviews by the hundred thousand; see :func:`newest_statements`."""
    found: dict[Hashable, Said] = {}
    for one in sorted(reviews, key=lambda one: (min(one.reviewed_at, now), one.id)):
        found[subject(one)] = one
    return found


def subject_of(review: Review) -> Hashable:
    """Return what a review is of: a box of an image, an image, or an event."""
    target = review.target
    box = target.region.box if target.kind == "region" and target.region is not None else None
    return (target.kind, *_image_of(review)[1:], box)


def reviewer_key(name: str) -> str:
    """Return a reviewer's name without differences of case and white space."""
    return " ".join(name.casefold().split())


def _image_of(review: Review) -> tuple[Any, ...]:
    target = review.target
    return ("event", target.event, 0) if target.kind == "event" else ("image", target.uri, target.frame)
