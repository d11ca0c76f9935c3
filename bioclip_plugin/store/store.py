"""The result store: one object over an SQLite file or a PostgreSQL database, safe to use from several threads."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import ArgumentError, DBAPIError

from bioclip_core.errors import StoreError
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.store import audit, commits, detections, listing, reading, reviews, runs, verifying
from bioclip_plugin.store.backup import Backup, back_up_database
from bioclip_plugin.store.box_counts import BoxCounts, box_counts
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.database.address import check_place, parse_address, shown
from bioclip_plugin.store.database.connection import Database, Retry
from bioclip_plugin.store.deciding import Deciding
from bioclip_plugin.store.feature_rows import FeatureRows
from bioclip_plugin.store.records import (
    AuditItem,
    Content,
    DrawnItem,
    FeatureKey,
    FoundBox,
    ItemRecord,
    Listed,
    MediaName,
    Review,
    ReviewTarget,
    Run,
    RunPlan,
    Stat,
    StatedReview,
    StoredFailure,
    StoredItem,
    StoredRegion,
    Summary,
    Verification,
)
from bioclip_plugin.store.statuses import RunStatus
from bioclip_plugin.store.taxa import TaxonCache
from bioclip_plugin.store.upkeep import Upkeep

__all__ = ["Retry", "Store"]

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
Read = TypeVar("Read")
Given = ParamSpec("Given")


class Store(Upkeep, FeatureRows):
    """Runs, media, features, answers, decisions, failures and reviews. Open it with :meth:`open`, close it after use.

    Every method raises ``StoreError`` if the database refuses, or goes away for longer than ``retry`` allows. Each writing
    method is one transaction and writes the same rows when it is repeated, however far the first attempt came.

    The methods run functions of the modules beside this one in a transaction: this class is their public face.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._taxa, self._has_event_indexes = database, TaxonCache(), False
        self.upgraded_from: str | None = None
        """The version of the tables before ``open`` upgraded them; None if there was nothing to upgrade."""

    @classmethod
    def open(
        cls,
        address: str | os.PathLike[str],
        *,
        create: bool = True,
        upgrade: bool | None = None,
        writes: bool = False,
        retry: Retry | None = None,
    ) -> Store:
        """Open a store; in a new file or an empty database its tables are made.

        Args:
            address: a path, ``sqlite:///PATH`` or ``postgresql+psycopg://USER@HOST/DATABASE``.
            create: False refuses a place without a store.
            upgrade: True upgrades tables of an older version; None does so on SQLite alone, since others may use a
                server's database.
            writes: True refuses a store that can only be read, before any work is done; otherwise the first method that
                writes refuses.
            retry: the time to go on trying when the database goes away; the default tries six times in half a minute.

        Raises:
            StoreError: naming the problem with the place, the server or the version.
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
            if writes:
                database.check_writable()
                database.check_server_writable()
        except BaseException:
            database.close()
            raise
        store.upgraded_from = None if found == versions.HEAD or database.read_only else found
        return store

    @property
    def shown_address(self) -> str:
        """The address for messages and provenance, without a password."""
        return shown(self._database.url)

    def version(self) -> str:
        """Return the version of the tables."""
        return self._database.read(versions.version_of) or "none"

    def upgrade(self) -> str:
        """Upgrade the tables to our version if they are older; return their version."""
        versions.bring_up(self._database, create=True, upgrade=True)
        return self.version()

    def backup(self, output: str | os.PathLike[str], *, progress: Progress | None = None) -> Backup:
        """Copy an SQLite store to a new file, while other programs may write to it; the copy is whole and checked, or absent.

        Args:
            output: the file to make.
            progress: called with the pages copied and with all of them.

        Raises:
            StoreError: for a damaged store, and for one in PostgreSQL, with the command that copies it.
            BioclipError: if the output exists or cannot be written.
        """
        return back_up_database(self._database, Path(output), progress)

    def close(self) -> None:
        """Close the connections. Closing twice is allowed."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Runs

    def begin_run(self, plan: RunPlan) -> Run:
        """Resume the run with the same sources and ``rule_id`` (its ``resumed`` is True), or make a new one.

        Other programs that work on runs of this store are named on the log, with what happens.
        """
        others = self._database.read(runs.worked_on, self._database.holds)
        run = self._database.write(self._held, runs.begin, plan)
        if words := runs.beside(run, others, is_sqlite=self._database.is_sqlite):
            logger.warning("the store %s: %s", self.shown_address, words)
        return run

    def forget_unlisted(self, run: Run) -> None:
        """Forget the failures of a run's listing, before it is listed again."""
        self._mark(run)
        self._database.write(runs.forget_unlisted, run)

    def end_run(self, run: Run, status: RunStatus, counts: dict[str, Any]) -> None:
        """Record how a run ended. ``finished`` turns items that are still to do (no source lists them) into failures."""
        self._database.write(runs.end, run, status, counts)
        if status != "running":
            self._database.holds.release(run.id)

    def note_encoder(self, run: Run, encoded_with: Mapping[str, Any]) -> None:
        """Record in a run's provenance what computes its features from now on."""
        self._database.write(runs.note_encoder, run, encoded_with)

    def _held(self, connection: Connection, work: Callable[..., Run], *given: Any) -> Run:
        """Return a run that is marked as worked on before others can see it."""
        run = work(connection, *given)
        self._database.holds.hold(run.id)
        self._taxa.forget()  # before the mark, a compaction may have removed some
        return run

    def _mark(self, run: Run) -> None:
        """Mark a run as worked on, again if the server lost the mark; if it is away, the work that follows says so."""
        with suppress(DBAPIError):
            self._database.holds.hold(run.id)

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        return self._database.read(runs.all_runs)

    def run(self, number: int | None = None) -> Run:
        """Return the run of this number; without a number, the run that was begun last.

        Raises:
            StoreError: if it does not exist, with the latest runs that do.
        """
        return self._database.read(runs.one_run, number)

    def last_feature_settings(self, weights_sha256: str) -> list[dict[str, Any]]:
        """Return the settings of earlier feature sets of these weights, the one used last first."""
        return self._database.read(runs.last_feature_settings, weights_sha256)

    # Writing

    def list_items(
        self,
        run: Run,
        items: Sequence[MediaItem | Unlisted],
        stats: Sequence[Stat | None],
        first_position: int = 1,
    ) -> list[Listed]:
        """Add items to the run's listing; return the stored knowledge about them, one result per item, in order.

        A file with another size or time of change than before is forgotten: its content, capture metadata and answers in
        every run, but not its reviews. New items get the next free positions from ``first_position`` on; known ones keep
        theirs. The listing waits for the disk with the next :meth:`commit`.

        Args:
            stats: size in bytes and modification time in nanoseconds of each item; None if the file is gone or the item
                is not a file, which leaves a known content as it is.
        """
        self._mark(run)
        return self._database.write_unsynced(listing.list_items, run, items, stats, first_position)

    def commit(self, run: Run, records: Sequence[ItemRecord]) -> None:
        """Write a batch in one transaction: all of it or nothing.

        Raises:
            StoreError: for a probability or feature that is not a number; nothing of the batch is written.
            ValueError: for features of another type or length than the run's.
        """
        if records:
            self._mark(run)
            self._taxa.remember(self._database.write(commits.commit, run, records, self._taxa))

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
        """Store a review and return its number. No machine ever changes or removes it.

        Raises:
            StoreError: for an image that is not in the store, and a verdict that does not fit.
        """
        review = StatedReview(target, verdict, taxon, reviewer, reviewed_at, comment, uid=uuid.uuid4().hex)
        return self._add_reviews([review])[0][review.uid]

    def add_reviews(self, given: Sequence[StatedReview], *, undated_at: datetime | None = None) -> int:
        """Store reviews in one transaction; return the number of new ones, as told by their ``uid``.

        Args:
            undated_at: time of reviews without one, so that none of a file is newer than the others; None is now.

        Raises:
            StoreError: for an image that is not in the store, and a verdict that does not fit; then none is stored.
        """
        named = [review if review.uid else replace(review, uid=uuid.uuid4().hex) for review in given]
        return self._add_reviews(named, undated_at)[1]

    def _add_reviews(
        self, given: Sequence[StatedReview], undated_at: datetime | None = None
    ) -> tuple[dict[str, int], int]:
        for review in given:
            reviews.check_review(review)
        return self._database.write(reviews.add_all, given, undated_at or datetime.now(UTC))

    def deciding(self, run: Run, *, unclassified: bool = False) -> Deciding:
        """Return a run's regions for a pass of rules.

        Args:
            unclassified: True to decide on regions that are not classified, too.
        """
        self._taxa.forget()
        return Deciding(self._database, self._taxa, run, unclassified=unclassified)

    def derive_run(self, base: Run, plan: RunPlan) -> Run:
        """Return the run of a plan that has the answers and the listing of ``base`` under other rules.

        A run of its own (made by ``classify``) keeps its own listing.
        """
        return self._database.write(self._held, runs.derive, base, plan)

    # Reading

    def read(
        self, work: Callable[Concatenate[Connection, Given], Read], *given: Given.args, **named: Given.kwargs
    ) -> Read:
        """Run reading work of another room in one transaction: a function of a connection and further arguments.

        It may be run again from the start when the database goes away.
        """
        return self._database.read(work, *given, **named)

    def features(self, feature_set: Run | int, keys: Sequence[FeatureKey]) -> dict[FeatureKey, NDArray[np.float16]]:
        """Return stored vectors (D numbers each) by content sha256, frame and box; missing vectors are absent."""
        number = feature_set.feature_set if isinstance(feature_set, Run) else feature_set
        return self._database.read(reading.features, number, keys)

    def found_boxes(self, run: Run, keys: Sequence[Content]) -> dict[Content, tuple[FoundBox, ...]]:
        """Return the stored boxes of the run's detector by content sha256 and frame; contents that it has not seen are absent."""
        return self._database.read(detections.found_boxes, run, keys)

    def keep_boxes(self, run: Run, found: Mapping[Content, tuple[int, Sequence[FoundBox]]]) -> None:
        """Store boxes of the run's detector by content, with its size, before the images that have it are committed."""
        self._mark(run)
        self._database.write(commits.keep_boxes, run, found)

    def answers(self, run: Run, media_ids: Sequence[int]) -> dict[int, list[StoredRegion]]:
        """Return every region of these media with an answer in the run's answer set, whichever run wrote it."""
        return self._database.read(reading.answers, run, media_ids, self._taxa)

    def items_of(
        self, run: Run, after: int = 0, limit: int | None = None, ranks: Collection[str] | None = None
    ) -> Iterator[StoredItem]:
        """Return a run's items in listing order, read one page at a time.

        Args:
            after: begin after this position (positions count from 1).
            limit: greatest number of items.
            ranks: the levels whose candidates are read, for speed; None: all.
        """
        size = reading.PAGE if limit is None else min(limit, reading.PAGE)
        return islice(
            self._pages_of(
                run,
                lambda connection, last: reading.page_of_items(connection, run, last, size, self._taxa, ranks),
                after,
            ),
            limit,
        )

    def reviewed_items(
        self, run: Run, events: Collection[str] = (), ranks: Collection[str] | None = None
    ) -> Iterator[StoredItem]:
        """Yield the items of a run whose image or one of whose regions is reviewed, in listing order; no others are read.

        Args:
            events: names of events whose images are yielded too.
            ranks: the levels whose candidates are read, for speed; None: all.
        """
        if events:
            self._index_events()
        positions = self._database.read(reviews.reviewed_positions, run, events)
        for first in range(0, len(positions), reading.PAGE):
            page = positions[first : first + reading.PAGE].tolist()
            yield from self._database.read(
                _still_there,
                run,
                lambda connection, _, at=page: reading.items_at(connection, run, at, self._taxa, ranks),
            )

    def item_numbered(self, run: Run, media: int) -> StoredItem | None:
        """Return one item of a run by the number of its media; None if the run did not list it."""
        return self._database.read(
            _still_there, run, lambda connection, _: reading.item_numbered(connection, run, media, self._taxa)
        )

    def listed_items(self, run: Run, *, only_answered: bool = False) -> Iterator[MediaItem]:
        """Yield a run's items in listing order, without regions and results."""
        return self._pages_of(
            run, lambda connection, after: reading.page_of_listed(connection, run, after, only_answered=only_answered)
        )

    def media_under(self, address: str | None = None) -> Iterator[MediaItem]:
        """Yield the stored media at an address or in the folder of that name (all without one), by their numbers."""
        return self._pages(lambda connection, after: reading.page_of_media(connection, address, after))

    def failures(self, run: Run) -> Iterator[StoredFailure]:
        """Yield a run's failures in listing order."""
        return self._pages_of(run, lambda connection, after: reading.page_of_failures(connection, run, after))

    def failure_counts(self, run: Run) -> dict[tuple[str, str], int]:
        """Return the number of failed items by (stage, reason), most frequent first."""
        return self._database.read(reading.failure_counts, run)

    def summary(self, run: Run) -> Summary:
        """Return the number of a run's items by status."""
        return self._database.read(reading.summary, run)

    def box_counts(self, run: Run) -> BoxCounts:
        """Return the numbers of a run's boxes by kind, and of images without any."""
        return self._database.read(box_counts, run)

    def verify(self, run: Run) -> Verification:
        """Compare the run's listing with its results and failures; every problem is named."""
        return self._database.read(_still_there, run, verifying.verify)

    def undecided(self, run: Run) -> int:
        """Return the number of answered regions without a decision by the run's rules; 0 for a run without rules."""
        return self._database.read(verifying.undecided, run)

    def reviews(self, *, undone: bool = False) -> Iterator[Review]:
        """Yield all reviews, oldest first.

        Args:
            undone: True to include reviews that were undone (:mod:`bioclip_plugin.store.undone`), and those that undo.
        """
        hidden = frozenset[int]() if undone else self._database.read(reviews.hidden)
        return self._pages(lambda connection, after: reviews.page(connection, after, self._taxa, hidden))

    def reviews_of(self, media: Sequence[MediaName], *, undone: bool = False) -> dict[MediaName, list[Review]]:
        """Return the reviews of these images (uri and frame) and their regions, oldest first; ``undone`` as above."""
        return self._database.read(reviews.of_media, media, self._taxa, undone=undone)

    # The audit sample

    def keep_audit_sample(self, drawn: Sequence[DrawnItem]) -> None:
        """Store the audit sample, which is drawn once.

        Raises:
            StoreError: if the store has another one.
        """
        self._database.write(audit.keep, drawn)

    def audit_items(self) -> list[AuditItem]:
        """Return the images of the audit sample, by their numbers; empty if none was drawn."""
        return self._database.read(audit.items)

    # Looking up the names in a file of reviews

    def regions_of(self, media: Sequence[MediaName]) -> dict[MediaName, list[Region | None]]:
        """Return every known region of these images (uri and frame); images that are not stored are absent."""
        return self._database.read(reviews.regions_of, media)

    def contents_of(self, media: Collection[MediaName]) -> dict[MediaName, str]:
        """Return the sha256 of the files of these images (uri and frame) when they were last read; others are absent."""
        return self._database.read(reviews.contents_of, media) if media else {}

    def items_named(self, media: Collection[MediaName]) -> dict[MediaName, MediaItem]:
        """Return the stored images of these names (uri and frame); others are absent."""
        return self._database.read(reviews.items_named, media) if media else {}

    def items_of_events(self, events: Collection[str]) -> dict[str, list[tuple[MediaItem, bool]]]:
        """Return the images of these events (sequences), and whether a detector found nothing in each."""
        self._index_events()
        return self._database.read(reviews.items_of_events, events)

    def known_events(self, events: Collection[str]) -> set[str]:
        """Return those of the names that a sequence of images has."""
        if not events:
            return set()
        self._index_events()
        return self._database.read(reviews.known_events, events)

    def _index_events(self) -> None:
        """Make the indexes of events in a large store before the first search, or else each search reads all rows."""
        if not self._has_event_indexes and self._database.read(reviews.lacks_event_indexes):
            with suppress(StoreError):  # a store that can only be read is searched slowly
                self._database.write(reviews.make_event_indexes)
        self._has_event_indexes = True

    def taxa_named(self, names: Collection[str]) -> list[Taxon]:
        """Return the stored taxa with one of these names, ignoring case: a binomial, a higher taxon or a common name."""
        return self._database.read(reviews.taxa_named, names)

    def _pages_of(
        self, run: Run, page: Callable[[Connection, int], tuple[list[Found], int]], after: int = 0
    ) -> Iterator[Found]:
        """Yield the pages of a run; a run that is deleted meanwhile ends with an error, not early."""
        return self._pages(
            lambda connection, last: _still_there(connection, run, lambda within, _: page(within, last)), after
        )

    def _pages(self, page: Callable[[Connection, int], tuple[list[Found], int]], after: int = 0) -> Iterator[Found]:
        found, after = self._database.read(page, after)
        while found:
            yield from found
            found, after = self._database.read(page, after)


def _still_there(connection: Connection, run: Run, read: Callable[[Connection, Run], Read]) -> Read:
    """Read something of a run, and check afterwards that its deletion had not begun."""
    found = read(connection, run)
    runs.check(connection, run)
    return found
