"""The result store: one object over an SQLite file or a PostgreSQL database, safe to use from several threads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import ArgumentError

from bioclip_core.errors import StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.store import commits, deriving, listing, lookups, reading, reviews, runs, verifying
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.database.address import check_place, parse_address, shown
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.deciding import Deciding
from bioclip_plugin.store.records import (
    FeatureKey,
    ItemRecord,
    Listed,
    Retry,
    Review,
    ReviewTarget,
    Run,
    RunPlan,
    RunStatus,
    Stat,
    StatedReview,
    StoredFailure,
    StoredItem,
    StoredRegion,
    Summary,
    Verification,
)
from bioclip_plugin.store.taxa import TaxonCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Found = TypeVar("Found")


class Store:
    """Runs, media, features, answers, decisions, failures and reviews. Open it with :meth:`open`, close it after use.

    Every method raises ``StoreError`` when the database refuses, or goes away for longer than ``retry`` allows. Each
    writing method is one transaction and gives the same rows when it is repeated, whatever became of the first try.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._taxa = TaxonCache()
        self.upgraded_from: str | None = None
        """The version of the tables that ``open`` found and upgraded; None where it had nothing to upgrade."""

    @classmethod
    def open(
        cls,
        address: str | os.PathLike[str],
        *,
        create: bool = True,
        upgrade: bool | None = None,
        retry: Retry | None = None,
    ) -> Store:
        """Open a store, making its tables in a new file or a database that has none.

        Args:
            address: a path, ``sqlite:///PATH`` or ``postgresql+psycopg://USER@HOST/DATABASE``.
            create: False refuses a place where there is no store yet.
            upgrade: whether tables of an older version are brought to ours; None does so on SQLite alone, since a
                server's database may be in use by others.
            retry: for a database that goes away; the default tries six times in half a minute.

        Raises:
            StoreError: naming what is wrong with the place, the server or the version.
        """
        url = parse_address(address)
        check_place(url, create=create)
        try:
            database = Database(url, retry or Retry())
        except (ArgumentError, ImportError) as error:
            raise StoreError(f"the store {shown(url)} cannot be opened: {error}") from None
        store = cls(database)
        try:
            found = versions.bring_up(
                database, create=create, upgrade=database.is_sqlite if upgrade is None else upgrade
            )
        except BaseException:
            database.close()
            raise
        store.upgraded_from = None if found in (None, versions.HEAD) else found
        return store

    @property
    def shown_address(self) -> str:
        """The address for people and provenance, without a password."""
        return shown(self._database.url)

    def version(self) -> str:
        """The version of the tables."""
        return self._database.read(versions.version_of) or "none"

    def upgrade(self) -> str:
        """Bring the tables to our version, where they are not; the version they have now."""
        versions.bring_up(self._database, create=True, upgrade=True)
        return self.version()

    def close(self) -> None:
        """Give back the connections. Closing twice is allowed."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Runs

    def begin_run(self, plan: RunPlan) -> Run:
        """Take up the run with the same sources and ``rule_id`` (``resumed``), or make a new one."""
        return self._database.write(lambda connection: runs.begin(connection, plan))

    def end_run(self, run: Run, status: RunStatus, counts: dict[str, Any]) -> None:
        """Note how a run ended. ``finished`` turns what is still to do (no source lists it any more) into failures."""
        self._database.write(lambda connection: runs.end(connection, run, status, counts))

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return self._database.read(runs.all_runs)

    def run(self, number: int | None = None) -> Run:
        """The run of this number; without one, the run that was begun last.

        Raises:
            StoreError: if there is none, with those there are.
        """
        return self._database.read(lambda connection: runs.one_run(connection, number))

    def last_feature_settings(self, weights_sha256: str) -> list[dict[str, Any]]:
        """The settings of earlier feature sets of these weights, the one used last first."""
        return self._database.read(lambda connection: runs.last_feature_settings(connection, weights_sha256))

    # Writing

    def list_items(
        self,
        run: Run,
        items: Sequence[MediaItem | Unlisted],
        stats: Sequence[Stat | None],
        first_position: int = 1,
    ) -> list[Listed]:
        """Put items down in the run's listing; what is known of each comes back, one an item, in order.

        A file whose size or time of change is another than before is forgotten: its content, capture metadata and
        answers in every run, but no review. New items get the next free positions from ``first_position`` on; known
        ones keep theirs.

        Args:
            stats: size in bytes and modification time in nanoseconds an item; None where the file is gone or was never
                one, which leaves a known content as it is.
        """
        return self._database.write(
            lambda connection: listing.list_items(connection, run, items, stats, first_position)
        )

    def commit(self, run: Run, records: Sequence[ItemRecord]) -> None:
        """Write a batch in one transaction: all of it or nothing.

        Raises:
            StoreError: for a probability or feature that is not a number; nothing of the batch is written.
            ValueError: for features of another type or length than the run's.
        """
        if records:
            self._taxa.remember(
                self._database.write(lambda connection: commits.commit(connection, run, records, self._taxa))
            )

    def add_review(
        self,
        target: ReviewTarget,
        verdict: ReviewVerdict,
        taxon: Taxon | None = None,
        *,
        reviewer: str,
        reviewed_at: datetime | None = None,
        comment: str = "",
    ) -> int:
        """Keep what a person said; the review's number. Nothing that a machine does ever changes or removes it.

        Raises:
            StoreError: for an image that is not in the store, and a verdict that does not fit.
        """
        said = StatedReview(target, verdict, taxon, reviewer, reviewed_at, comment, uid=uuid.uuid4().hex)
        reviews.check_review(target, verdict, taxon, reviewer)
        return self._database.write(lambda connection: reviews.add_all(connection, [said], self._taxa))[0][said.uid]

    def add_reviews(self, said: Sequence[StatedReview]) -> int:
        """Keep what people said, in one transaction; how many were not there yet, by their ``uid``.

        Raises:
            StoreError: for an image that is not in the store, and a verdict that does not fit; then none is kept.
        """
        for one in said:
            reviews.check_review(one.target, one.verdict, one.taxon, one.reviewer)
        named = [one if one.uid else replace(one, uid=uuid.uuid4().hex) for one in said]

        return self._database.write(lambda connection: reviews.add_all(connection, named, self._taxa))[1]

    def deciding(self, run: Run, *, unclassified: bool = False) -> Deciding:
        """A run's regions on their way through rules.

        Args:
            unclassified: whether regions that the model was not to name are decided on too.
        """
        return Deciding(self._database, self._taxa, run, unclassified=unclassified)

    def derive_run(self, base: Run, plan: RunPlan) -> Run:
        """The run of a plan that has the same answers as ``base`` under other rules, with its listing.

        A run that exists for itself (``classify`` made it) keeps its own listing.
        """
        return self._database.write(lambda connection: deriving.derive(connection, base, plan))

    # Reading

    def features(self, feature_set: Run | int, keys: Sequence[FeatureKey]) -> dict[FeatureKey, NDArray[np.float16]]:
        """Stored vectors (D numbers each) by content sha256, frame and box; what is not stored is not in the result."""
        number = feature_set.feature_set if isinstance(feature_set, Run) else feature_set
        return self._database.read(lambda connection: reading.features(connection, number, keys))

    def answers(self, run: Run, media_ids: Sequence[int]) -> dict[int, list[StoredRegion]]:
        """Every region of these media with an answer in the run's answer set, whichever run wrote it."""
        return self._database.read(lambda connection: reading.answers(connection, run, media_ids, self._taxa))

    def items_of(
        self, run: Run, after: int = 0, limit: int | None = None, ranks: Collection[str] | None = None
    ) -> Iterator[StoredItem]:
        """A run's items in listing order, a page in memory at a time.

        Args:
            after: the position behind which to begin (they count from 1).
            limit: at most so many.
            ranks: the levels whose candidates are wanted, for speed; None: all.
        """
        left = limit
        while left is None or left > 0:
            size = reading.PAGE if left is None else min(left, reading.PAGE)
            items, after = self._page_of_items(run, after, size, ranks)
            if not items:
                return
            yield from items
            left = None if left is None else left - len(items)

    def _page_of_items(
        self, run: Run, after: int, size: int, ranks: Collection[str] | None
    ) -> tuple[list[StoredItem], int]:
        return self._database.read(
            lambda connection: reading.page_of_items(connection, run, after, size, self._taxa, ranks)
        )

    def media_under(self, address: str | None = None) -> Iterator[MediaItem]:
        """The known media at an address or in the folder of that name, all without one, in the order of their numbers."""
        return self._pages(lambda connection, after: reading.page_of_media(connection, address, after))

    def failures(self, run: Run) -> Iterator[StoredFailure]:
        """A run's failures in listing order."""
        return self._pages(lambda connection, after: reading.page_of_failures(connection, run, after))

    def failure_counts(self, run: Run) -> dict[tuple[str, str], int]:
        """How many items failed, by (stage, reason), most frequent first."""
        return self._database.read(lambda connection: reading.failure_counts(connection, run))

    def summary(self, run: Run) -> Summary:
        """How many items of a run are in which state."""
        return self._database.read(lambda connection: reading.summary(connection, run))

    def verify(self, run: Run) -> Verification:
        """Whether the run's listing equals its results and failures, with every problem named."""
        return self._database.read(lambda connection: verifying.verify(connection, run))

    def undecided(self, run: Run) -> int:
        """How many answered regions the run's rules have not decided on yet; 0 for a run without rules."""
        return self._database.read(lambda connection: verifying.undecided(connection, run))

    def reviews(self) -> Iterator[Review]:
        """What people said, oldest first."""
        return self._pages(lambda connection, after: reviews.page(connection, after, self._taxa))

    def reviews_of(self, media: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Review]]:
        """What people said of these images (uri and frame) and their regions, oldest first."""
        return self._database.read(lambda connection: reviews.of_media(connection, media, self._taxa))

    # Looking up what a file of reviews names

    def regions_of(self, media: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Region | None]]:
        """Every known region of these images (uri and frame); an image that is not in the store is not in the result."""
        return self._database.read(lambda connection: lookups.regions_of(connection, media))

    def items_of_events(self, events: Collection[str]) -> dict[str, list[tuple[MediaItem, bool]]]:
        """The images whose sequence is called so, and whether a detector found nothing in them."""
        return self._database.read(lambda connection: lookups.items_of_events(connection, events))

    def known_events(self, events: Collection[str]) -> set[str]:
        """Those of the names that a sequence of images has."""
        return self._database.read(lambda connection: lookups.known_events(connection, events))

    def taxa_named(self, names: Collection[str]) -> list[Taxon]:
        """The stored taxa with one of these names, letter case ignored: a binomial, a higher taxon or a common name."""
        return self._database.read(lambda connection: lookups.taxa_named(connection, names))

    def _pages(self, page: Callable[[Connection, int], tuple[list[Found], int]]) -> Iterator[Found]:
        after = 0
        while True:
            found, after = self._database.read(lambda connection, after=after: page(connection, after))  # type: ignore[misc]
            if not found:
                return
            yield from found
