"""Reviews that were undone: a later review whose details have ``{"undoes": uid}`` takes an earlier one of its subject back."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

UNDOES = "undoes"
"""Key in the details of a review: the ``uid`` of the review that it takes back."""


class Statement(NamedTuple):
    """A review, as far as undoing needs it."""

    id: int
    uid: str
    subject: Hashable
    """The image or the event: a review takes back only reviews of its own."""
    undoes: str
    """Empty for a review that takes none back."""


def undone_uid(details: Mapping[str, Any]) -> str:
    """Return the ``uid`` that a review's details take back; empty for a review that says something itself."""
    found = details.get(UNDOES)
    return found if isinstance(found, str) else ""


def not_in_force(statements: Iterable[Statement]) -> set[int]:
    """Return the numbers of the reviews that say nothing any more: those that were undone, and those that undo.

    Undoing can be undone, which puts the first review into force again. A review undoes earlier ones of its own subject only.
    """
    newest_first = sorted(statements, key=lambda one: one.id, reverse=True)
    by_uid = {one.uid: one for one in newest_first}
    undone: set[int] = set()
    for one in newest_first:
        target = by_uid.get(one.undoes) if one.undoes and one.id not in undone else None
        if target is not None and target.id < one.id and target.subject == one.subject:
            undone.add(target.id)
    return undone | {one.id for one in newest_first if one.undoes}
