"""A file of reviews into a store: every row is new, stored already, without a review, or refused with its reason."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.files.drives import relative
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists, is_folder
from bioclip_core.names import clean_name, parse_name
from bioclip_core.tables.sheets import sheet_of
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions, ReviewingSource, Source
from bioclip_plugin.formats.addaxai import read_reviews as addaxai
from bioclip_plugin.formats.addaxai.layout import table_at
from bioclip_plugin.formats.shared.paths import moved_name
from bioclip_plugin.formats.shared.review_rows import (
    REVIEW_FIELDS,
    ImportOptions,
    NotReviewed,
    NotTaken,
    Written,
    is_ambiguous,
    review_times,
    verdict_of,
)
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.tables import read_reviews as tables
from bioclip_plugin.formats.timelapse import read_reviews as timelapse
from bioclip_plugin.formats.timelapse.layout import is_timelapse
from bioclip_plugin.items.media import Region, path_of, uri_of
from bioclip_plugin.items.time_zones import zone_of
from bioclip_plugin.items.verdicts import REVIEW_VERDICTS, ReviewVerdict
from bioclip_plugin.reviews.names import NameBook
from bioclip_plugin.reviews.pairing import same_box
from bioclip_plugin.reviews.sameness import repeats, sense_of, uid_of
from bioclip_plugin.store import Review, Store
from bioclip_plugin.store.records import MediaName, ReviewTarget, StatedReview

_TOGETHER = 500

NO_IMAGE, NO_EVENT, NO_NAME, NO_REVIEWER, UNCLEAR = (
    "image not in the store", "event not in the store", "name not resolved", "no reviewer", "unclear or unusable row",
)  # fmt: skip

Entry = Written | NotTaken | NotReviewed | StatedReview
Known = Mapping[MediaName, list[Region | None]]
"""The images of a batch that are in the store, with their regions."""
Stored = Mapping[MediaName, list[Review]]
"""The stored reviews of these images."""


@dataclass(slots=True)
class Imported:
    """Counts of a file's rows; they add up to ``rows``."""

    kind: str
    """Kind of file that it was read as."""
    rows: int = 0
    new: int = 0
    there: int = 0
    """Stored before, or repeated in the file."""
    unsaid: int = 0
    """Rows without a review."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused rows by kind of reason."""

    @property
    def refusals(self) -> int:
        return self.refused.total()


class Refused(Exception):
    """A row that cannot be imported: the kind of reason, and a sentence."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def import_reviews(
    address: str,
    store: Store,
    sources: Sequence[Source],
    book: NameBook,
    options: ImportOptions,
    refused: Callable[[NotTaken], None],
    progress: Callable[[int], None] = lambda _count: None,
) -> Imported:
    """Import a file. Importing it again stores nothing twice.

    Args:
        refused: called with every row that is refused.
        progress: called with the number of rows that were read since the last call.

    Raises:
        SourceError: if the file as a whole cannot be read.
    """
    kind, entries = _entries(address, sources, options)
    done, path = Imported(kind), path_of(address)
    importer = _Importer(store, book, options, options.base_folder or (path if is_folder(path) else path.parent))
    while batch := list(islice(entries, _TOGETHER)):
        done.rows += len(batch)
        for kind_of_reason, row in importer.take(batch, done):
            done.refused[kind_of_reason] += 1
            refused(row)
        progress(len(batch))
    return done


def _entries(address: str, sources: Sequence[Source], options: ImportOptions) -> tuple[str, Iterator[Entry]]:
    """Return the kind of file that it is read as, and its entries row by row."""
    path, shown = sheet_of(path_of(address))[0], uri_of(address)
    if not exists(path):
        raise SourceError(
            f"{shown} does not exist{near_hint(path)}; give a table (.csv, .tsv, .xlsx, .parquet) or a Camtrap DP package"
        )
    for source in sources:
        if isinstance(source, ReviewingSource) and source.takes(address):
            return source.name, source.reviews(address, options.listing())
        if fault := getattr(source, "fault", ""):
            options.findings.add("sources of plugins failed and were not asked", fault)
    if is_folder(path):
        raise SourceError(f"{shown} is a folder without a Camtrap DP package; give a table of reviews")
    zone = zone_of(options.time_zone) if options.time_zone else UTC
    if table_at(address)[0] == "files":
        times = review_times(address, zone, options, lambda: iter(()))
        return "AddaxAI table", addaxai.statements(address, times, options)
    times = review_times(address, zone, options, lambda: rows_of(address, options, fields=REVIEW_FIELDS))
    if is_timelapse(header_of(address, options, REVIEW_FIELDS)):
        return "Timelapse table", timelapse.statements(address, times, options)
    return "table", tables.statements(address, times, options)


class _Importer:
    """Batches of rows on their way into the store."""

    def __init__(self, store: Store, book: NameBook, options: ImportOptions, folder: Path) -> None:
        self._store, self._book, self._options, self._folder = store, book, options, folder
        self._listing = options.listing()
        self._began = datetime.now(UTC)
        self._called: dict[int, list[MediaName]] = {}
        """Possible names of the images of the batch, by the id of the entry."""

    def take(self, batch: Sequence[Entry], done: Imported) -> Iterator[tuple[str, NotTaken]]:
        """Store a batch; yield the refused rows, each with its kind of reason."""
        self._called = {id(entry): _called(entry, self._folder, self._listing) for entry in batch}
        known = self._store.regions_of(sorted({name for names in self._called.values() for name in names}))
        self._book.expect({name for entry in batch for name in _written_names(entry) if name})
        events = self._store.known_events(
            {entry.event for entry in batch if isinstance(entry, Written) and entry.event and not entry.image}
        )
        stored = self._stored(batch, known)
        taken: list[StatedReview] = []
        for entry in batch:
            if isinstance(entry, NotReviewed):
                done.unsaid += 1
                continue
            try:
                if isinstance(entry, NotTaken):
                    raise Refused(UNCLEAR, entry.reason)
                if isinstance(entry, StatedReview):
                    taken.append(self._placed(entry, known))
                elif self._repeats(entry, known, stored):
                    done.there += 1
                else:
                    taken.append(self._stated(entry, known, events))
            except Refused as error:
                yield error.kind, _refusal(entry, str(error))
        there = {sense_of(review) for reviews in stored.values() for review in reviews}
        fresh = [review for review in taken if review.reviewed_at is None or sense_of(review) not in there]
        new = self._store.add_reviews(fresh, undated_at=self._began) if fresh else 0
        done.new, done.there = done.new + new, done.there + len(taken) - new

    # Statements

    def _stated(self, entry: Written, known: Known, events: Collection[str]) -> StatedReview:
        """Return the row as the store takes it.

        Raises:
            Refused: with the reason.
        """
        target = self._target(entry, known, events)
        verdict, taxon, verbatim = self._answer(entry)
        reviewer = entry.reviewer or self._options.reviewer
        if not reviewer.strip():
            raise Refused(NO_REVIEWER, "the row names no reviewer: add a column reviewer, or give --reviewer NAME")
        details = dict(entry.details)
        if taxon is not None and verbatim != taxon.name:
            details["verbatimName"] = verbatim
        uid = uid_of(target, verdict, verbatim, reviewer, entry.reviewed_at, entry.comment)
        return StatedReview(target, verdict, taxon, reviewer, entry.reviewed_at, entry.comment, details, uid)

    def _target(self, entry: Written, known: Known, events: Collection[str]) -> ReviewTarget:
        if not entry.image:
            if not entry.event:
                raise Refused(UNCLEAR, "the row names neither an image nor an event")
            if entry.event not in events:
                raise Refused(NO_EVENT, f"no image of the store has the event {entry.event!r}")
            return ReviewTarget("event", event=entry.event)
        name = self._found(entry, known)
        if name is None:
            raise Refused(NO_IMAGE, _not_found(entry, self._folder))
        region = _region(entry, known[name])
        return ReviewTarget("media" if region is None else "region", name[0], entry.frame, region)

    def _found(self, entry: Entry, known: Known) -> MediaName | None:
        """Return the store's name of the entry's image; None if it is not in the store."""
        return next((name for name in self._called[id(entry)] if name in known), None)

    def _placed(self, review: StatedReview, known: Known) -> StatedReview:
        """Return the review of a source with the box and the lineage that the store has for it."""
        target = review.target
        # The package itself states the images of an event, which may be on the web.
        if target.kind != "event":
            if (target.uri or "", target.frame) not in known:
                raise Refused(
                    NO_IMAGE, f"the store has no {target.uri!r}; classify the package first, or give --base-folder"
                )
            if target.region is not None:
                box = same_box(target.region, known[target.uri or "", target.frame])
                target = replace(target, region=box or target.region)
        reviewer = review.reviewer.strip() or self._options.reviewer
        if not reviewer:
            raise Refused(NO_REVIEWER, "the observation names no reviewer: give --reviewer NAME")
        taxon, details = review.taxon, dict(review.details)
        if review.taxon is not None:
            meaning = self._book.placed(review.taxon)
            if meaning.taxon is None:
                raise Refused(NO_NAME, meaning.reason)
            taxon = meaning.taxon
            if taxon is not None and taxon.name != review.taxon.name:
                details["verbatimName"] = review.taxon.name
        return replace(review, target=target, taxon=taxon, reviewer=reviewer, details=details)

    def _answer(self, entry: Written) -> tuple[ReviewVerdict, Taxon | None, str]:
        """Return the verdict, the taxon if it is one, and the name as written."""
        verdict = verdict_of(entry.verdict) if entry.verdict else None
        if entry.verdict and verdict is None:
            allowed = f"{', '.join(REVIEW_VERDICTS[:-1])} or {REVIEW_VERDICTS[-1]}"
            raise Refused(UNCLEAR, f"the verdict {entry.verdict!r} is not one of {allowed}")
        word = verdict_of(entry.named) if entry.named else None
        if word not in (None, "taxon") and verdict in (None, "taxon", word):
            return word, None, ""
        if is_ambiguous(entry.named):
            raise Refused(
                UNCLEAR,
                f"{entry.named!r} may mean that nothing is there or that nobody looked: write blank or unidentifiable",
            )
        if verdict not in (None, "taxon"):
            if entry.names:
                raise Refused(UNCLEAR, f"the row says {verdict} and names {entry.name!r}: leave one of them empty")
            return verdict, None, ""
        if not entry.names:
            raise Refused(UNCLEAR, "the verdict taxon needs a name")
        meaning = self._book.meaning(entry.names, scientific=entry.scientific)
        if meaning.verdict is not None:
            return meaning.verdict, None, ""
        if meaning.taxon is None:
            raise Refused(NO_NAME, meaning.reason)
        return "taxon", meaning.taxon, entry.named or entry.name

    # Stored reviews

    def _stored(self, batch: Sequence[Entry], known: Known) -> Stored:
        """Return the stored reviews of the images whose reviews a batch may repeat; an undone one stays undone."""
        images = {
            self._found(entry, known)
            for entry in batch
            if (isinstance(entry, Written) and (entry.reviewed_at is not None or entry.exported))
            or (isinstance(entry, StatedReview) and entry.reviewed_at is not None)
        }
        named = sorted(image for image in images if image is not None)
        return self._store.reviews_of(named, undone=True) if images else {}

    def _repeats(self, entry: Written, known: Known, stored: Stored) -> bool:
        """Return True if a row of our export was not changed: a review of its box, or of the image as a whole."""
        image = self._found(entry, known) if entry.exported else None
        if image is None or image not in stored:
            return False
        region = _region(entry, known[image])
        boxes = (None, region.box if region is not None else None)
        reviewer = entry.reviewer or self._options.reviewer
        return any(
            repeats(entry, reviewer, review)
            for review in stored[image]
            if (review.target.region and review.target.region.box) in boxes
        )


def _region(entry: Written, known: Sequence[Region | None]) -> Region | None:
    """Return the row's box as the store has it, or else as it was drawn; None is the whole image."""
    if entry.box is None:
        return None
    drawn = Region(*entry.box)
    return same_box(drawn, known) or drawn


def _not_found(entry: Written, folder: Path) -> str:
    """Return the reason why a row's image was not found, with a hint."""
    frame = f" (frame {entry.frame})" if entry.frame else ""
    image = entry.image.replace("\\", "/")
    if "://" in image or Path(image).is_absolute():
        return f"the store has no {entry.image!r}{frame}"
    below = uri_of(folder / image)
    looked = f"no {image!r}" if below == image else f"neither {entry.image!r} nor {below!r}"
    return f"the store has {looked}{frame}; --base-folder says where the names of images begin"


def _called(entry: Entry, folder: Path, options: ListingOptions) -> list[MediaName]:
    """Return the possible names of the entry's image in the store, best first."""
    if isinstance(entry, StatedReview):
        return [(entry.target.uri, entry.target.frame)] if entry.target.uri else []
    if not isinstance(entry, Written) or not entry.image:
        return []
    written = (entry.image, *entry.elsewhere)
    moved = [os.fspath(found[1] / found[0]) for name in written if (found := moved_name(name, folder, options))]
    return [(name, entry.frame) for name in _image_names((*moved, *written), folder)]


def _image_names(written: Sequence[str], folder: Path) -> list[str]:
    """Return the uris that an image may have been listed under, best first. Nothing is opened.

    Args:
        written: the image as the file writes it, and its other names.
        folder: folder where relative names begin.
    """
    names: list[str] = []
    for image in (spelling for text in written for spelling in (text, text.replace("\\", "/"))):
        names += [image, uri_of(image)]
        if "://" not in image:
            path = folder / image
            whole = os.path.normpath(Path.cwd() / path)
            # As it is written, from the root, or from here.
            names += [uri_of(name) for name in (path, whole, os.path.normpath(path), relative(whole)) if name]
    # A Mac decomposes the names of its files, and a spreadsheet composes them.
    if not all(map(str.isascii, names)):
        names += [unicodedata.normalize("NFC", name) for name in names] + [
            unicodedata.normalize("NFD", name) for name in names
        ]
    return list(dict.fromkeys(names))


def _written_names(entry: Entry) -> Iterator[str]:
    """Yield the names that will be looked up for a row, as far as they are known: together they cost one query."""
    if isinstance(entry, StatedReview):
        if entry.taxon is not None:
            yield entry.taxon.name
    elif isinstance(entry, Written):
        for cell in entry.names.values():
            yield clean_name(cell)
            yield " ".join(parse_name(cell).binomial).strip()


def _refusal(entry: Written | NotTaken | StatedReview, reason: str) -> NotTaken:
    if isinstance(entry, NotTaken):
        return entry
    if isinstance(entry, Written):
        return NotTaken(entry.record, entry.image or entry.event, entry.name, reason)
    return NotTaken(
        str(entry.details.get("observationID") or entry.uid),
        entry.target.uri or entry.target.event or "",
        entry.taxon.name if entry.taxon else entry.verdict,
        reason,
    )
