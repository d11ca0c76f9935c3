"""Configuration of a curation: one frozen record per section of the YAML file, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bioclip_core.errors import UsageError
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.options import check_options

DEFAULT_MEMORY = 4_000_000_000


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A published collection on disk."""

    path: Path
    """Folder or file of the collection."""
    layout: str = ""
    """Layout in which it is published, such as ``inat21`` or ``gbif``.

    Empty: recognised by its files, and reported.
    """
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the layout's reader."""
    rows: int | None = field(default=None, metadata={"low": 0})
    """Number of records that the publisher states; another number is reported."""
    cut_archives: Literal["refuse", "read"] = "refuse"
    """Archives that are cut short: refuse the source, or read uncompressed tars up to there; others are refused in any case."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class NamesConfig:
    """Labels and common names."""

    common_names: tuple[Path, ...] = ()
    """Tables of common names, the one that counts most first."""
    languages: tuple[str, ...] = ("en",)
    """Languages of common names (BCP 47), the preferred one first."""
    precedence: tuple[str, ...] = ()
    """Tables (by file name), ``taxonomy`` and sources in the order in which their common names count.

    Empty: tables in their order, the taxonomy, then the most frequent name in all sources.
    """
    taxonomy_version: str = ""
    """Version that the taxonomy must have; another one is refused."""
    unlisted: Literal["higher", "keep"] = "higher"
    """Label of a name that the taxonomy does not list: the lowest rank above it that is listed, or the name as it is written."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class KindsConfig:
    """Image kinds."""

    by_source: Mapping[str, str] = field(default_factory=dict)
    """Image kind of all records of a source, by the source's name; it counts more than the rules."""
    exclude: tuple[str, ...] = ()
    """Kinds that are left out of splits and shards."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """A filter on the content of images: it writes a score per record."""

    kind: str
    """Name of the filter: ``support-set``, ``empty-frames``, ``people``, or one of a plugin."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files and folders that the filter reads, by its own names for them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the filter."""
    exclude_from: float | None = None
    """Score from which a record is left out of splits and shards.

    None: nothing is left out.
    """

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class DuplicatesConfig:
    """Duplicates of images."""

    near: bool = True
    """Look for near duplicates by perceptual hash, not only for equal bytes."""
    distance: int = field(default=12, metadata={"low": 0, "high": 24})
    """Bits of 144 of the perceptual hash up to which one image is taken for a copy of the other."""
    group_distance: int = field(default=16, metadata={"low": 0, "high": 32})
    """Bits of 144 up to which two images belong to one group, which is never on both sides of a split."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.group_distance < self.distance:
            raise UsageError(
                f"duplicates: group_distance {self.group_distance} is below distance {self.distance}; copies belong to one group, "
                "so that it is at least as large"
            )


@dataclass(frozen=True, slots=True)
class EvaluationSetConfig:
    """An evaluation set that nothing may leak into."""

    path: Path
    """Folder of the set."""
    suite: str = ""
    """Name of the suite that reads it (``evaluate --suite``)."""
    layout: str = ""
    """Published layout that reads it, where no suite does."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the layout's reader."""
    taxa: Literal["exclude", "report"] = "report"
    """What becomes of records whose species is in the set: left out, as unseen-taxon sets need it, or only reported."""
    file_names: bool = False
    """Take records for the same observation if their files have the same name, whatever its suffix.

    For collections whose files are named by an id.
    """

    def __post_init__(self) -> None:
        check_options(self)
        if self.suite and (self.layout or self.options):
            given = "layout" if self.layout else "options"
            raise UsageError(f"suite {self.suite!r} reads the set, so that {given} would be ignored: give one of them")


@dataclass(frozen=True, slots=True)
class SplitsConfig:
    """Splits."""

    val: float = field(default=0.05, metadata={"low": 0, "high": 0.9})
    """Share of groups in the split ``val``."""
    published: bool = False
    """Keep the splits that sources state."""
    cameras: Literal["location", "event"] = "location"
    """Group of images of camera traps: those of a location, whose background is the same, or of an event (sequence) alone."""
    unseen_species: Path | None = None
    """File with one species per line, genus and epithet, of which no record is in ``train``; they are the split ``unseen``."""
    unseen_share: float = field(default=0.0, metadata={"low": 0, "high": 0.5})
    """Share of species, drawn by the hash of their names, that become the split ``unseen``."""
    unseen_images: int = field(default=30, metadata={"low": 1})
    """Smallest number of records of a species that is drawn for ``unseen``."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class ShardsConfig:
    """Shards."""

    write: bool = True
    """Write shards."""
    splits: tuple[str, ...] = ()
    """Splits that are written; empty: all."""
    samples_per_shard: int = field(default=1000, metadata={"low": 1, "high": 10**7})
    """Number of samples in one tar."""
    max_side: int = field(default=512, metadata={"low": 16, "high": 16384})
    """Longest side of a stored image in pixels; smaller images keep their size."""
    quality: int = field(default=92, metadata={"low": 1, "high": 95})
    """JPEG quality of images that must be encoded."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class Curation:
    """A whole configuration."""

    output: Path
    """Folder of the stages, the catalog, the shards and the report."""
    sources: Mapping[str, SourceConfig]
    """Collections by name."""
    seed: int = field(default=0, metadata={"low": 0})
    """Seed of everything that is drawn: it is hashed with keys, so that another seed gives other splits."""
    precedence: tuple[str, ...] = ()
    """Sources in the order in which they keep an image that several have; empty: by name, which is reported."""
    taxonomy: Path | None = None
    """Taxonomy file (``taxonomy build``) that names are resolved with."""
    names: NamesConfig = field(default_factory=NamesConfig)
    """Labels and common names."""
    kinds: KindsConfig = field(default_factory=KindsConfig)
    """Image kinds."""
    filters: Mapping[str, FilterConfig] = field(default_factory=dict)
    """Filters on the content of images, by the name of their column."""
    duplicates: DuplicatesConfig = field(default_factory=DuplicatesConfig)
    """Duplicates of images."""
    evaluation_sets: Mapping[str, EvaluationSetConfig] = field(default_factory=dict)
    """Evaluation sets by name."""
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    """Splits."""
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    """Shards."""
    memory: int = field(default=DEFAULT_MEMORY, metadata={"low": 256_000_000, "size": True})
    """Memory that a stage may use, such as 4 GB."""
    threads: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core"})
    """Number of threads."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.sources:
            raise UsageError("sources is empty: give at least one collection by name, with its path")
        for where, names in (("precedence", self.precedence), ("kinds.by_source", tuple(self.kinds.by_source))):
            for name in names:
                if name not in self.sources:
                    raise UsageError(
                        f"{where} names {name!r}, which is not a source; the sources are {listed(sorted(self.sources))}"
                        f"{did_you_mean(name, self.sources)}"
                    )
        missing = sorted(set(self.sources) - set(self.precedence))
        if self.precedence and (missing or len(set(self.precedence)) < len(self.precedence)):
            wrong = f"lacks {listed(missing)}" if missing else "has a source twice"
            raise UsageError(f"precedence {wrong}: list every source once, or leave it out for their order by name")

    def sources_at(self, path: Path) -> list[str]:
        """Return the names of the sources that are this file or folder, however it is written."""
        place = path.resolve()
        return sorted(name for name, source in self.sources.items() if source.path.resolve() == place)

    @property
    def ranked_sources(self) -> tuple[str, ...]:
        """Names of the sources, the one that keeps a shared image first."""
        return self.precedence or tuple(sorted(self.sources))
