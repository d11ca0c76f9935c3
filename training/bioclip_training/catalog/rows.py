"""The catalog's shape: what a reader hands over, the columns of ``catalog.parquet``, and opening one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError
from bioclip_core.identity import file_sha256
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.uris import file_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the upright image, origin top left."""

DEV_FRACTION = 0.1
"""Of the groups of ``train``, cut out as ``dev`` for choosing the best step, interpolation and temperature."""

FACTS = b"bioclip_catalog"
"""The key in the Parquet file's metadata under which ``catalog build`` leaves what it did, as JSON."""

_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
TEXT_COLUMNS = (
    "uri", *(rank.value for rank in RANKS), "common_name", "verbatim_name", "source", "source_id", "taxon_id", "licence", "group",
    "split", "sha256", "phash",
)  # fmt: skip
"""Columns of text; empty where nothing is known. ``species`` holds the epithet, as in a :class:`Taxon`."""


@dataclass(frozen=True, slots=True)
class LabelledItem:
    """One labelled region as a reader hands it to the catalog: an image, and what the source wrote about it."""

    uri: str
    """As listed."""
    path: Path | None
    """The file; None where there is none on this machine."""
    cells: Mapping[str, Any]
    """The source's own columns by their own names: names of taxa, ``split``, ids, licence."""
    source: str
    """The table, folder or store that it is from."""
    frame: int = 0
    box: Box | None = None
    """None is the whole image."""


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One labelled region of a catalog."""

    uri: str
    """Relative to the catalog's folder, as in every table."""
    taxon: Taxon
    verbatim_name: str = ""
    """What the source wrote."""
    source: str = ""
    source_id: str = ""
    """The source's id of the occurrence or image."""
    taxon_id: str = ""
    """``checklist:id`` of the accepted name, where a taxonomy was given."""
    licence: str = ""
    group: str = ""
    """Occurrence, specimen, individual, camera or track: never on both sides of a split."""
    split: str = ""
    """``train``, ``val``, ``unseen``, or a table's own word."""
    sha256: str = ""
    phash: str = ""
    """Perceptual hash (hex), by which near duplicates are found."""
    frame: int = 0
    box: Box | None = None
    changes: tuple[str, ...] = ()
    """Every change made to the name, in order, as sentences."""


def table_from(rows: Iterable[CatalogRow]) -> Any:
    """Rows as a pyarrow table with the columns of a catalog."""
    import pyarrow as pa

    listed = list(rows)
    columns: dict[str, Any] = {"uri": [row.uri for row in listed]}
    for rank in RANKS:
        columns[rank.value] = [row.taxon.lineage[rank.depth] for row in listed]
    columns["common_name"] = [row.taxon.common_name for row in listed]
    for name in TEXT_COLUMNS[9:]:
        columns[name] = [getattr(row, name) for row in listed]
    table = {name: pa.array(columns[name], pa.string()) for name in TEXT_COLUMNS}
    table["frame"] = pa.array([row.frame for row in listed], pa.int32())
    for place, name in enumerate(_BOX):
        table[name] = pa.array([row.box[place] if row.box else None for row in listed], pa.float64())
    table["changes"] = pa.array([list(row.changes) for row in listed], pa.list_(pa.string()))
    return pa.table(table)


class Catalog:
    """A catalog that is open: N labelled regions, their taxa and their splits. Rows are numbered from 0 in file order."""

    def __init__(self, file: Path, table: Any, *, dev_fraction: float = DEV_FRACTION) -> None:
        self.file = file
        self.dev_fraction = dev_fraction
        """Of the groups of ``train``, where nothing else is said."""
        self.table = table

    @classmethod
    def open(cls, file: str | Path, *, dev_fraction: float = DEV_FRACTION) -> Catalog:
        """Read a catalog.

        Raises:
            SourceError: if the file is missing, no Parquet, or not a catalog.
        """
        import pyarrow as pa
        from pyarrow import parquet

        path = Path(file)
        if not path.is_file():
            raise SourceError(
                f"the catalog {path} does not exist; make one with: bioclip-plugin catalog build TABLE --output {path}"
            )
        try:
            table = parquet.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"the catalog {path} cannot be read: {str(error).splitlines()[0]}; "
                "make one with: bioclip-plugin catalog build TABLE --output FILE.parquet"
            ) from error
        missing = [name for name in (*TEXT_COLUMNS, "frame", *_BOX, "changes") if name not in table.column_names]
        if missing:
            raise SourceError(
                f"{path} is a table and no catalog: it lacks {', '.join(missing[:5])}; "
                f"make one of it with: bioclip-plugin catalog build {path} --output FILE.parquet"
            )
        return cls(path, table, dev_fraction=dev_fraction)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def identity(self) -> str:
        """Sha256 of the file."""
        return file_sha256(self.file)

    @cached_property
    def taxa(self) -> tuple[Taxon, ...]:
        """The distinct lineages of all rows and splits, sorted; each with the first common name that its rows have."""
        return self._labels[0]

    @property
    def taxon_of_N(self) -> NDArray[np.int64]:  # noqa: N802
        """For each row the place of its taxon in ``taxa``."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[tuple[Taxon, ...], NDArray[np.int64]]:
        return _distinct_rows(self.table)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What ``catalog build`` recorded beside the rows: its options, and the counts of what it met. Empty where nothing is."""
        stored = (self.table.schema.metadata or {}).get(FACTS)
        return json.loads(stored) if stored else {}

    @cached_property
    def _lists(self) -> dict[str, list[Any]]:
        return {}

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """Each column in one piece, of which single values are quickly had without a list of millions of objects."""
        return {name: _one_piece(self.table.column(name)) for name in (*TEXT_COLUMNS, "frame", *_BOX)}

    def column(self, name: str) -> list[str]:
        """One of ``TEXT_COLUMNS``, a text a row."""
        if name not in self._lists:
            self._lists[name] = self._columns[name].to_pylist()
        return self._lists[name]

    def numbered(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """For each row the place of its text among the distinct texts of a column, and those; no list of all rows is made."""
        column = self._columns[name].fill_null("").dictionary_encode()
        return column.indices.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()

    def taxon(self, row: int) -> Taxon:
        """The row's own lineage, with the common name that stands in it."""
        common_name = self._columns["common_name"][row].as_py() or ""
        return Taxon.of(self.taxa[self.taxon_of_N[row]].lineage, common_name)

    def path(self, row: int) -> Path:
        """The image's file; a relative uri is relative to the catalog's folder."""
        return file_of(self._columns["uri"][row].as_py(), self.file.parent)

    def frame(self, row: int) -> int:
        return int(self._columns["frame"][row].as_py())

    def box(self, row: int) -> Box | None:
        """None is the whole image."""
        x, y, w, h = (self._columns[name][row].as_py() for name in _BOX)
        return None if x is None or y is None or w is None or h is None else (x, y, w, h)

    def rows_of(self, part: str, *, dev_fraction: float | None = None) -> NDArray[np.int64]:
        """The rows of a part, ascending: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``.

        ``dev`` is what the table itself calls so; where it does not, it is cut out of ``train`` by the hash of the group.
        """
        if part == "all":
            return np.arange(len(self))
        split_of_N, texts = self.numbered("split")
        words = {word: code for code, word in enumerate(texts)}
        if part not in ("train", "dev") or "dev" in words:
            return np.flatnonzero(split_of_N == words.get(part, -1))
        train = np.flatnonzero(split_of_N == words.get("train", -1))
        group = self._columns["group"]
        groups = [group[row].as_py() or f"row {row}" for row in train.tolist()]
        share = self.dev_fraction if dev_fraction is None else dev_fraction
        is_dev = dev_part(groups, self.taxon_of_N[train], share)
        return train[is_dev] if part == "dev" else train[~is_dev]


def distinct_taxa(taxa: Sequence[Taxon]) -> tuple[tuple[Taxon, ...], NDArray[np.int64]]:
    """The distinct lineages, sorted, each with the first common name it has; and for each given taxon its place."""
    common: dict[tuple[str, ...], str] = {}
    for taxon in taxa:
        if not common.get(taxon.lineage):
            common[taxon.lineage] = taxon.common_name
    place = {lineage: index for index, lineage in enumerate(sorted(common))}
    distinct = tuple(Taxon.of(lineage, common[lineage]) for lineage in sorted(common))
    return distinct, np.array([place[taxon.lineage] for taxon in taxa], dtype=np.int64)


def dev_part(groups: Sequence[str], taxon_of_N: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Which rows are ``dev``: those of :func:`held_out` under the word "dev"."""
    return held_out("dev", groups, taxon_of_N, fraction)


def held_out(word: str, groups: Sequence[Any], taxon_of_N: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Which rows are held out: a group whose hash falls below ``fraction``, unless a taxon would have no group left.

    The same on every machine and whatever the order of rows; a group is whole on one side. Another ``word`` gives
    another choice.
    """
    share = {group: hashed_share(f"{word} {group}") for group in set(groups)}
    cut = {group for group, value in share.items() if value < fraction}
    of_taxon: dict[int, set[Any]] = {}
    for group, taxon in zip(groups, taxon_of_N.tolist(), strict=True):
        of_taxon.setdefault(taxon, set()).add(group)
    for own in of_taxon.values():
        if own <= cut:  # the group that lies deepest in train stays there
            cut.discard(max(own, key=lambda group: (share[group], group)))
    return np.array([group in cut for group in groups], dtype=bool)


def hashed_share(text: str) -> float:
    """A number from 0 to 1 that depends on the text alone (sha256), evenly spread."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _distinct_rows(table: Any) -> tuple[tuple[Taxon, ...], NDArray[np.int64]]:
    """As :func:`distinct_taxa`, of a table's columns: objects are made for distinct lineages only, so millions of rows are quick."""
    codes_N = np.zeros(table.num_rows, dtype=np.int64)
    for rank in RANKS:
        column = _one_piece(table.column(rank.value)).fill_null("").dictionary_encode()
        codes_N = codes_N * max(1, len(column.dictionary)) + column.indices.to_numpy(zero_copy_only=False)
        codes_N = np.unique(codes_N, return_inverse=True)[1]  # small again, so that the next product stays small
    first_T = np.unique(codes_N, return_index=True)[1]
    found = [tuple(table.column(rank.value)[row].as_py() or "" for rank in RANKS) for row in first_T.tolist()]
    order = sorted(range(len(found)), key=found.__getitem__)
    place_T = np.empty(len(found), dtype=np.int64)
    place_T[order] = np.arange(len(found))
    taxon_of_N: NDArray[np.int64] = place_T[codes_N] if found else codes_N
    names = _one_piece(table.column("common_name")).fill_null("")
    with_name = np.flatnonzero(np.asarray(names.to_numpy(zero_copy_only=False) != ""))
    taxa, first = np.unique(taxon_of_N[with_name], return_index=True)
    common = {int(taxon): names[int(with_name[at])].as_py() for taxon, at in zip(taxa, first, strict=True)}
    lineages = [found[old] for old in order]
    return tuple(Taxon.of(lineage, common.get(place, "")) for place, lineage in enumerate(lineages)), taxon_of_N


def _one_piece(column: Any) -> Any:
    """A chunked column of pyarrow as one array."""
    import pyarrow as pa

    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


Block = tuple[int, int]
"""First and last+1 of a run of samples that lie together on disk."""


def key_of_row(catalog: Catalog, row: int) -> str:
    """The name of a labelled region: its uri, and frame and box as a media fragment where it has them."""
    box, frame = catalog.box(row), catalog.frame(row)
    parts = [f"frame={frame}"] if frame else []
    if box is not None:
        parts.append("xywh=" + ",".join(f"{value:g}" for value in box))
    uri = catalog.column("uri")[row]
    return f"{uri}#{'&'.join(parts)}" if parts else uri


def group_of_row(catalog: Catalog, row: int) -> str:
    """The row's group; ``row N`` where it has none, as :meth:`Catalog.rows_of` calls it."""
    return catalog.column("group")[row] or f"row {row}"
