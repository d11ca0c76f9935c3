"""A file of reviews into a store: every row is imported, was there already, says nothing, or is refused with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import SourceError
from bioclip_core.names import clean_name, parse_name
from bioclip_core.options import check_options
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions, ReviewingSource, Source
from bioclip_plugin.formats.shared.table_files import header_of
from bioclip_plugin.formats.timelapse import read_reviews as timelapse
from bioclip_plugin.items.media import Region, path_of, uri_of
from bioclip_plugin.items.time_zones import zone_of
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.reviews import tables
from bioclip_plugin.reviews.boxes import same_box
from bioclip_plugin.reviews.image_names import image_names
from bioclip_plugin.reviews.sameness import repeats, sense_of, uid_of
from bioclip_plugin.reviews.words import AMBIGUOUS, squeezed, verdict_of, verdict_words
from bioclip_plugin.reviews.written import NotReviewed, NotTaken, Written
from bioclip_plugin.store.records import ReviewTarget, StatedReview

if TYPE_CHECKING:
    from bioclip_plugin.reviews.names import NameBook
    from bioclip_plugin.store import Review, Store

_TOGETHER = 500

NO_IMAGE, NO_EVENT, NO_NAME, NO_REVIEWER, UNCLEAR = (
    "image not in the store", "event not in the store", "name not resolved", "no reviewer", "unclear or unusable row",
)  # fmt: skip

Entry = Written | NotTaken | NotReviewed | StatedReview
ImageName = tuple[str, int]
Known = Mapping[ImageName, list[Region | None]]
"""The images of a batch that are in the store, with their regions."""
Stored = Mapping[ImageName, "list[Review]"]
"""What the store has of them."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of reading a file of reviews."""

    reviewer: str = ""
    """Reviewer of the rows that do not name one."""
    base_folder: Path | None = field(default=None, metadata={"automatic": "the folder of the file itself"})
    """Folder where the relative names of images begin."""
    time_zone: str | None = field(default=None, metadata={"check": zone_of, "automatic": "UTC"})
    """Time zone of times without an offset: Europe/Brussels, or +02:00."""
    name_column: str | None = field(default=None, metadata={"automatic": "species, scientificName and others"})
    """Column of the names."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(slots=True)
class Imported:
    """What became of a file's rows; they add up to ``rows``."""

    kind: str
    """What the file was read as."""
    rows: int = 0
    new: int = 0
    there: int = 0
    """Stored before, or twice in the file."""
    unsaid: int = 0
    """Rows without a review."""
    refused: Counter[str] = field(default_factory=Counter)
    """By kind of reason."""

    @property
    def refusals(self) -> int:
        return self.refused.total()


class Refused(Exception):
    """A row that cannot be taken: the kind of reason, and a sentence."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class StoredNames:
    """The store's taxa by name, asked for many names at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, list[Taxon]] = {}

    def prefetch(self, names: Iterable[str]) -> None:
        """Learn the taxa of these names."""
        missing = {name.lower() for name in names} - self._known.keys()
        self._known.update({name: [] for name in missing})
        for taxon in self._store.taxa_named(missing) if missing else ():
            own = (taxon.scientific_name, taxon.common_name, *taxon.lineage)
            for name in {text.lower() for text in own} & missing:
                self._known[name].append(taxon)

    def __call__(self, names: Collection[str]) -> list[Taxon]:
        self.prefetch(names)
        return [taxon for name in names for taxon in self._known[name.lower()]]


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
        refused: told of every row that could not be taken.
        progress: told how many rows were read since.

    Raises:
        SourceError: if the file as a whole cannot be read.
    """
    kind, entries = _entries(address, sources, options)
    done = Imported(kind)
    importer = _Importer(store, book, options, options.base_folder or _folder_of(address))
    while batch := list(islice(entries, _TOGETHER)):
        done.rows += len(batch)
        for kind_of_reason, row in importer.take(batch, done):
            done.refused[kind_of_reason] += 1
            refused(row)
        progress(len(batch))
    return done


def _folder_of(address: str) -> Path:
    path = path_of(address)
    return path if path.is_dir() else path.parent


def _entries(address: str, sources: Sequence[Source], options: ImportOptions) -> tuple[str, Iterator[Entry]]:
    """What the file was read as, and what it says, row by row."""
    if not path_of(address).exists():
        raise SourceError(
            f"{uri_of(address)} does not exist; give a table (.csv, .tsv, .parquet) or a Camtrap DP package"
        )
    zone = zone_of(options.time_zone) if options.time_zone else UTC
    for source in sources:
        if isinstance(source, ReviewingSource) and source.takes(address):
            listing = ListingOptions(base_folder=options.base_folder, time_zone=options.time_zone)
            return source.name, source.reviews(address, listing)
    if path_of(address).is_dir():
        raise SourceError(f"{uri_of(address)} is a folder that holds no Camtrap DP package; give a table of reviews")
    if timelapse.is_timelapse(header_of(address)):
        return "Timelapse table", timelapse.statements(address, zone, options.name_column)
    return "table", tables.statements(address, zone, options.name_column)


class _Importer:
    """Batches of rows on their way into the store."""

    def __init__(self, store: Store, book: NameBook, options: ImportOptions, folder: Path) -> None:
        self._store = store
        self._book = book
        self._options = options
        self._folder = folder
        self._called: dict[int, list[ImageName]] = {}
        """What the images of the batch may be called, by the id of the entry."""

    def take(self, batch: Sequence[Entry], done: Imported) -> Iterator[tuple[str, NotTaken]]:
        """Store what can be stored of a batch; what cannot comes back with its kind of reason."""
        self._called = {id(entry): _called(entry, self._folder) for entry in batch}
        known = self._store.regions_of(sorted({name for names in self._called.values() for name in names}))
        self._book.expect({name for entry in batch for name in _written_names(entry) if name})
        events = self._store.known_events({event for entry in batch if (event := _event_of(entry))})
        stored = self._stored(batch, known)
        said: list[StatedReview] = []
        for entry in batch:
            if isinstance(entry, NotReviewed):
                done.unsaid += 1
                continue
            try:
                if isinstance(entry, NotTaken):
                    raise Refused(UNCLEAR, entry.reason)
                if isinstance(entry, Written) and self._repeats(entry, known, stored):
                    done.there += 1
                    continue
                said.append(self._stated(entry, known, events))
            except Refused as error:
                yield error.kind, _refusal(entry, str(error))
        fresh = _not_there(said, stored)
        new = self._store.add_reviews(fresh) if fresh else 0
        done.new += new
        done.there += len(said) - new

    # Statements

    def _stated(self, entry: Written | StatedReview, known: Known, events: Collection[str]) -> StatedReview:
        """The row as the store takes it.

        Raises:
            Refused: with the reason why not.
        """
        if isinstance(entry, StatedReview):
            return self._placed(entry, known)
        target = self._target(entry, known, events)
        verdict, taxon, verbatim = self._said(entry)
        reviewer = entry.reviewer or self._options.reviewer
        if not reviewer.strip():
            raise Refused(NO_REVIEWER, "the row names no reviewer: add a column reviewer, or give --reviewer NAME")
        details = dict(entry.details)
        if taxon is not None and verbatim != taxon.scientific_name:
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

    def _found(self, entry: Entry, known: Known) -> ImageName | None:
        """What the store calls the entry's image; None where it has none."""
        return next((name for name in self._called[id(entry)] if name in known), None)

    def _placed(self, said: StatedReview, known: Known) -> StatedReview:
        """A statement that a source made, with the box and the lineage that the store has for it."""
        target = said.target
        if target.kind == "event":
            pass  # the package itself says what is of the event, also where its images are on the web
        elif (target.uri or "", target.frame) not in known:
            raise Refused(
                NO_IMAGE, f"the store has no {target.uri!r}; classify the package first, or give --base-folder"
            )
        elif target.region is not None:
            found = same_box(target.region, known[target.uri or "", target.frame])
            target = replace(target, region=found or target.region)
        reviewer = said.reviewer.strip() or self._options.reviewer
        if not reviewer:
            raise Refused(NO_REVIEWER, "the observation names nobody who made it: give --reviewer NAME")
        taxon, details = said.taxon, dict(said.details)
        if taxon is not None:
            taxon = self._book.placed(taxon).taxon
            if taxon is not None and said.taxon is not None and taxon.scientific_name != said.taxon.scientific_name:
                details["verbatimName"] = said.taxon.scientific_name
        return replace(said, target=target, taxon=taxon, reviewer=reviewer, details=details)

    def _said(self, entry: Written) -> tuple[ReviewVerdict, Taxon | None, str]:
        """The verdict, the taxon where it is one, and what was written."""
        verdict = verdict_of(entry.verdict) if entry.verdict else None
        if entry.verdict and verdict is None:
            raise Refused(UNCLEAR, f"the verdict {entry.verdict!r} is none of {verdict_words()}")
        written = entry.named
        word = verdict_of(written) if written else None
        if word not in (None, "taxon") and verdict in (None, "taxon", word):
            return word, None, ""
        if squeezed(written) in AMBIGUOUS:
            raise Refused(
                UNCLEAR,
                f"{written!r} may mean that nothing is there or that nobody looked: write blank or unidentifiable",
            )
        if verdict not in (None, "taxon"):
            if entry.names:
                raise Refused(UNCLEAR, f"the row says {verdict} and names {entry.name!r}: leave one of them empty")
            return verdict, None, ""
        if not entry.names:
            raise Refused(UNCLEAR, "the verdict taxon needs a name")
        meaning = self._book.meaning(entry.names, scientific=entry.scientific)
        if meaning.taxon is None:
            raise Refused(NO_NAME, meaning.reason)
        return "taxon", meaning.taxon, written or entry.name

    # What is there

    def _stored(self, batch: Sequence[Entry], known: Known) -> Stored:
        """The reviews of those images of which a batch may say again what was said."""
        images = {self._found(entry, known) for entry in batch if _may_be_there(entry)}
        return self._store.reviews_of(sorted(image for image in images if image is not None)) if images else {}

    def _repeats(self, entry: Written, known: Known, stored: Stored) -> bool:
        """Whether nobody changed what our export wrote into a row: a review of its box, or of the image as a whole."""
        image = self._found(entry, known) if entry.exported else None
        if image is None or image not in stored:
            return False
        region = _region(entry, known[image])
        shown = (None, region.box if region is not None else None)
        reviewer = entry.reviewer or self._options.reviewer
        reviews = (one for one in stored[image] if (one.target.region and one.target.region.box) in shown)
        return any(repeats(entry, reviewer, review) for review in reviews)


def _may_be_there(entry: Entry) -> bool:
    if isinstance(entry, Written):
        return entry.reviewed_at is not None or bool(entry.exported)
    return isinstance(entry, StatedReview) and entry.reviewed_at is not None


def _not_there(said: Sequence[StatedReview], stored: Stored) -> list[StatedReview]:
    """Those that no stored review says already."""
    there = {sense_of(review) for reviews in stored.values() for review in reviews}
    return [one for one in said if one.reviewed_at is None or sense_of(one) not in there]


def _region(entry: Written, known: Sequence[Region | None]) -> Region | None:
    """The row's box as the store has it, or else as it was drawn; None is the whole image."""
    if entry.box is None:
        return None
    drawn = Region(*entry.box)
    return same_box(drawn, known) or drawn


def _not_found(entry: Written, folder: Path) -> str:
    """Why a row's image was not found, and what may help."""
    frame = f" (frame {entry.frame})" if entry.frame else ""
    image = entry.image.replace("\\", "/")
    if "://" in image or Path(image).is_absolute():
        return f"the store has no {entry.image!r}{frame}"
    below = uri_of(folder / image)
    looked = f"no {image!r}" if below == image else f"neither {entry.image!r} nor {below!r}"
    return f"the store has {looked}{frame}; --base-folder says where the names of images begin"


def _called(entry: Entry, folder: Path) -> list[ImageName]:
    """What the image may be called in the store, best first."""
    if isinstance(entry, StatedReview):
        return [(entry.target.uri, entry.target.frame)] if entry.target.uri else []
    if not isinstance(entry, Written) or not entry.image:
        return []
    return [(name, entry.frame) for name in image_names((entry.image, *entry.elsewhere), folder)]


def _written_names(entry: Entry) -> Iterator[str]:
    """The names that will be looked up for a row, as far as they can be told before: asked for together they cost one query."""
    if isinstance(entry, StatedReview):
        if entry.taxon is not None:
            yield entry.taxon.scientific_name
    elif isinstance(entry, Written):
        for cell in entry.names.values():
            yield clean_name(cell)
            yield " ".join(parse_name(cell).binomial).strip()


def _event_of(entry: Entry) -> str:
    return entry.event if isinstance(entry, Written) and not entry.image else ""


def _refusal(entry: Written | NotTaken | StatedReview, reason: str) -> NotTaken:
    if isinstance(entry, NotTaken):
        return entry
    if isinstance(entry, Written):
        return NotTaken(entry.record, entry.image or entry.event, entry.name, reason)
    record = str(entry.details.get("observationID") or entry.uid)
    name = entry.taxon.scientific_name if entry.taxon else entry.verdict
    return NotTaken(record, entry.target.uri or entry.target.event or "", name, reason)
