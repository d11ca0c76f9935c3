"""The catalog's shape: what a reader hands over, the columns of ``catalog.parquet``, and opening one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError
from bioclip_core.identity import file_sha256
from bioclip_core.taxonomy import RANKS, Taxon

Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the upright image, origin top left."""

DEV_FRACTION = 0.1
"""Of the groups of ``train``, cut out as ``dev`` for choosing the best step, interpolation and temperature."""

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

    def __init__(self, file: Path, table: Any) -> None:
        self.file = file
        self.table = table

    @classmethod
    def open(cls, file: str | Path) -> Catalog:
        """Read a catalog.

        Raises:
            SourceError: if the file is missing, no Parquet, or not a catalog.
        """
        import pyarrow as pa
        from pyarrow import parquet

        path = Path(file)
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
        return cls(path, table)

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
    def taxon_of_N(self) -> NDArray[np.int64]:
        """For each row the place of its taxon in ``taxa``."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[tuple[Taxon, ...], NDArray[np.int64]]:
        return distinct_taxa([self.taxon(row) for row in range(len(self))])

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        return {name: self.table.column(name).to_pylist() for name in TEXT_COLUMNS}

    @cached_property
    def _boxes(self) -> list[tuple[float | None, ...]]:
        return list(zip(*(self.table.column(name).to_pylist() for name in _BOX), strict=True))

    @cached_property
    def _frames(self) -> list[int]:
        frames: list[int] = self.table.column("frame").to_pylist()
        return frames

    def column(self, name: str) -> list[str]:
        """One of ``TEXT_COLUMNS``, a text a row."""
        return self._texts[name]

    def taxon(self, row: int) -> Taxon:
        lineage = [self._texts[rank.value][row] or "" for rank in RANKS]
        return Taxon.of(lineage, self._texts["common_name"][row] or "")

    def path(self, row: int) -> Path:
        """The image's file; a relative uri is relative to the catalog's folder."""
        # What is not UTF-8 in a name is %-escaped in a uri.
        return self.file.parent / _unescaped(self._texts["uri"][row])

    def frame(self, row: int) -> int:
        return self._frames[row]

    def box(self, row: int) -> Box | None:
        """None is the whole image."""
        x, y, w, h = self._boxes[row]
        return None if x is None or y is None or w is None or h is None else (x, y, w, h)

    def rows_of(self, part: str, *, dev_fraction: float = DEV_FRACTION) -> NDArray[np.int64]:
        """The rows of a part, ascending: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``.

        ``dev`` is what the table itself calls so; where it does not, it is cut out of ``train`` by the hash of the group.
        """
        splits = np.array(self._texts["split"], dtype=object)
        if part == "all":
            return np.arange(len(self))
        if part not in ("train", "dev") or (splits == "dev").any():
            return np.flatnonzero(splits == part)
        train = np.flatnonzero(splits == "train")
        groups = [self._texts["group"][row] or f"row {row}" for row in train]
        is_dev = dev_part(groups, self.taxon_of_N[train], dev_fraction)
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
    """Which rows are ``dev``: a group whose hash falls below ``fraction``, unless a taxon would have no group left.

    The same on every machine and whatever the order of rows; a group is whole on one side.
    """
    share = {group: hashed_share(f"dev {group}") for group in set(groups)}
    cut = {group for group, value in share.items() if value < fraction}
    of_taxon: dict[int, set[str]] = {}
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


def _unescaped(uri: str) -> str:
    from urllib.parse import unquote_to_bytes

    return os.fsdecode(unquote_to_bytes(uri)) if "%" in uri else uri
