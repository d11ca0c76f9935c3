"""The contract of a published layout: how it is recognised, with what options it is read, and what its reader gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bioclip_core.errors import DataError, SourceError, UsageError
from bioclip_core.files.near_names import near_hint
from bioclip_core.findings import Findings
from bioclip_core.listed_names import did_you_mean
from bioclip_core.progress import Progress, silent
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.rows import shown_path

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
"""Most rows of one batch."""
DEFAULT_MEMORY = 2 << 30


@dataclass(frozen=True, slots=True)
class LayoutOption:
    """An option of one layout: a key below ``options:`` of a source in the YAML file."""

    name: str
    help: str
    """A noun phrase or an imperative."""
    words: tuple[str, ...] = ()
    """Allowed words; empty: not limited to a list."""
    read: Callable[[Any], Any] | None = None
    """Reader of its value for :func:`setting`, where it has another form; it raises ValueError with the end of a message."""
    place: Literal["", "folder", "file"] = ""
    """``folder`` or ``file``: it names one, relative to the source; with ``words`` beside, one of them or a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """A layout that was found in a folder or file, from names and first rows only."""

    layout: str
    """Name of the layout: what ``layout:`` in the YAML file says."""
    taken: tuple[tuple[str, str], ...]
    """What was taken for what: a file or column of the source, and what it is read as."""
    confidence: str
    """The reason why it is this layout, as the end of a sentence: "its columns processid and image_file are BIOSCAN-1M's"."""
    missing: tuple[str, ...] = ()
    """Parts of the layout that are not there, each with its consequence."""
    files: tuple[Path, ...] = ()
    """Files that hold the metadata; when one of them changes, the source is read again."""

    def lines(self) -> Iterator[str]:
        """Yield the lines that report it to the user."""
        yield f"read as {self.layout}: {self.confidence}"
        for source, meaning in self.taken:
            yield f"  {source} → {meaning}"
        for part in self.missing:
            yield f"  missing: {part}"


@dataclass(slots=True, kw_only=True)
class ReadOptions:
    """Settings of reading one source, and the places where its reader reports what it found."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of the layout, by name."""
    table: TableOptions = field(default_factory=TableOptions)
    """Options of reading tables: encoding, names of columns, order of dates."""
    findings: Findings = field(default_factory=Findings)
    """Counts of what is odd about records that are given."""
    skipped: Findings = field(default_factory=Findings)
    """Counts of rows that are not given, by reason."""
    counts: dict[str, int] = field(default_factory=dict)
    """Numbers about the source: rows, images on disk."""
    progress: Progress = silent
    threads: int = 1
    memory: int = DEFAULT_MEMORY
    """Bytes that a join may use before it spills to disk."""
    work_folder: Path | None = None
    """Folder for spilled data; None: that of the system for temporary files."""

    def skip(self, reason: str, example: str = "", count: int = 1) -> None:
        """Count rows that are not given: the reason in the plural ("rows without an image file"), and the first example."""
        self.skipped.add(reason, example, count)

    def count(self, name: str, number: int) -> None:
        """Add to a number about the source."""
        self.counts[name] = self.counts.get(name, 0) + number


class Layout(Protocol):
    """One published layout."""

    @property
    def name(self) -> str:
        """What ``layout:`` in the YAML file says: ``inat21``."""

    @property
    def title(self) -> str:
        """Name of the collection for readers."""

    @property
    def needs(self) -> str:
        """What a folder must hold to be read as this layout, as the end of a sentence."""

    @property
    def options(self) -> tuple[LayoutOption, ...]:
        """Options of this layout, beside :data:`COMMON_OPTIONS`."""

    def recognise(self, path: Path) -> Recognition | None:
        """Return what is there, from names and first rows only; None if it is something else.

        Args:
            path: an existing folder or file.
        """
        ...

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        """Yield the records, without the columns ``key``, ``source`` and ``layout``.

        Batches have the schema ``SOURCE_RECORDS`` of :mod:`bioclip_training.published.records` and at most
        :data:`BATCH_ROWS` rows. Memory does not grow with the number of rows beyond ``options.memory``.

        Raises:
            SourceError: if the source cannot be read as this layout.
            UsageError: for an option that it does not have.
        """
        ...


def setting(
    layout: Layout, options: ReadOptions, name: str, default: Any, read: Callable[[Any], Any] = lambda value: value
) -> Any:
    """Return one option of a layout.

    Args:
        layout: the layout, which lists its options.
        options: has the settings that the user gave.
        name: of the option.
        default: if it is not given.
        read: returns the value of what was given; ValueError and TypeError become a message.

    Raises:
        UsageError: for a value that ``read`` does not take.
    """
    given = options.settings.get(name)
    if given is None:
        return default
    try:
        return read(given)
    except (ValueError, TypeError) as error:
        raise UsageError(f"option {name}: {given!r} of layout {layout.name} {error}") from None


COMMON_OPTIONS = (
    LayoutOption("encoding", "Encoding of text tables, such as cp1252."),
    LayoutOption("columns", "Columns of other names: a mapping from the layout's column to the heading in the table."),
)
"""Options that every layout has."""


def check_settings(layout: Layout, options: ReadOptions, path: Path | None = None) -> None:
    """Refuse options that a layout does not have, and apply those of reading tables that all have.

    Args:
        layout: the layout.
        options: have the settings.
        path: the source, for options that name files and folders; None: these are not looked for.

    Raises:
        UsageError: for the first unknown one, and for values that cannot be used.
    """
    known = [option.name for option in (*layout.options, *COMMON_OPTIONS)]
    for name in options.settings:
        if name not in known:
            raise UsageError(
                f"layout {layout.name} has no option {name!r}; it has {', '.join(known)}{did_you_mean(str(name), known)}"
            )
    for option in layout.options:
        _check_value(layout, options, option, path)
    if encoding := setting(layout, options, "encoding", "", str):
        options.table = replace(options.table, encoding=encoding)
    if columns := setting(layout, options, "columns", {}, _mapping):
        pairs = tuple(f"{field}={heading}" for field, heading in columns.items())
        options.table = replace(options.table, column=options.table.column + pairs)


def _check_value(layout: Layout, options: ReadOptions, option: LayoutOption, path: Path | None) -> None:
    if option.read is not None:
        setting(layout, options, option.name, None, option.read)
    if option.words and not option.place:
        setting(layout, options, option.name, None, one_of(*option.words))
    given = setting(layout, options, option.name, "", str)
    if not option.place or path is None or not given or given in option.words:
        return
    root = path if path.is_dir() else path.parent
    place = root / given
    if place.is_dir() if option.place == "folder" else place.is_file():
        return
    is_not = f"{given!r} of layout {layout.name} is not a {option.place} in {shown_path(root)}"
    if option.words:
        raise UsageError(
            f"option {option.name}: {is_not}, nor one of {', '.join(option.words)}{did_you_mean(given, option.words)}"
        )
    raise SourceError(f"option {option.name}: {is_not}{near_hint(place)}")


def _mapping(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(
            "must be a mapping from the layout's column to the heading in the table: {processid: Process_ID}"
        )
    return given


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Return a reader for :func:`setting` that takes one of some words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}{did_you_mean(str(value), allowed)}")
        return str(value)

    return read


class Implausible(DataError):
    """A source that was read as a layout gives values that cannot be what they were taken for."""
