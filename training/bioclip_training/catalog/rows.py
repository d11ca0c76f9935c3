"""Shape of a catalog: the items that readers hand over, the columns of ``catalog.parquet``, and an opened catalog."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError, first_line
from bioclip_core.files.documents import parse_document
from bioclip_core.files.moved import MovedNames
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.identity import file_sha256
from bioclip_core.images.decoding import read_bytes
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.next_commands import command
from bioclip_core.tables.options import PathOptions
from bioclip_core.tables.parquet_limits import ExpandsError, check_whole
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.evidence import OF_CATALOGUE, WORDS, Evidence
from bioclip_training.catalog.naming.names import TEXT_COLUMNS
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.recorded import is_hash, verified
from bioclip_training.catalog.uris import file_of
from bioclip_training.catalog.versions import FACTS, check_version, with_missing_columns

log = logging.getLogger("bioclip_plugin.training")

Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the upright image, origin top left."""

Block = tuple[int, int]
"""First sample and end (exclusive) of a run of samples that lie together on disk."""

_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


@dataclass(frozen=True, slots=True)
class LabelledItem:
    """One labelled region as a reader hands it to the catalog: an image, and the cells that the source has for it."""

    uri: str
    """As listed."""
    path: Path | None
    """The file; None if it is not on this machine."""
    cells: Mapping[str, Any]
    """The source's own columns by their own names: names of taxa, ``split``, ids, licence."""
    source: str
    """Table, folder or store that the item is from."""
    frame: int = 0
    box: Box | None = None
    """None is the whole image."""
    evidence: Evidence | None = None
    """Of a review; None: a name of the source's own, whose evidence is in the cells."""
    content: str = ""
    """Sha256 of the image's bytes when another program read them: if its file is gone, its label counts for a copy of it."""


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One labelled region of a catalog."""

    uri: str
    """Relative to the catalog's folder, as in every table."""
    taxon: Taxon
    verbatim_name: str = ""
    """The name as the source wrote it."""
    source: str = ""
    source_id: str = ""
    """The source's id of the occurrence or image."""
    taxon_id: str = ""
    """``checklist:id`` of the accepted name, if a taxonomy was given."""
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
    evidence: Evidence = OF_CATALOGUE
    """What the label comes from."""
    occurrence: str = ""
    """The occurrence that the source states."""
    is_missing: bool = False
    """True if only the content is known: the label is of use for a copy of the image in another source."""


def table_from(rows: Iterable[CatalogRow]) -> Any:
    """Return rows as a pyarrow table with the columns of a catalog."""
    import pyarrow as pa

    listed = list(rows)
    texts = {
        "uri": [row.uri for row in listed],
        **{rank.value: [row.taxon.lineage[rank.depth] for row in listed] for rank in RANKS},
        "common_name": [row.taxon.common_name for row in listed],
        **{name: [getattr(row, name) for row in listed] for name in TEXT_COLUMNS[9:]},
    }
    evidence = {
        "evidence": [WORDS[row.evidence.standing] for row in listed],
        "identified_by": [row.evidence.by for row in listed],
        "date_identified": [row.evidence.when for row in listed],
    }
    boxes = {name: [row.box[place] if row.box else None for row in listed] for place, name in enumerate(_BOX)}
    return pa.table({
        **{name: pa.array(values, pa.string()) for name, values in texts.items()},
        "frame": pa.array([row.frame for row in listed], pa.int32()),
        **{name: pa.array(values, pa.float64()) for name, values in boxes.items()},
        "changes": pa.array([list(row.changes) for row in listed], pa.list_(pa.string())),
        **{name: pa.array(values, pa.string()) for name, values in evidence.items()},
    })  # fmt: skip


def is_catalog(file: Path) -> bool:
    """True for a Parquet file with the columns of a catalog, such as the index of shards; no row is read."""
    from pyarrow import ArrowException, parquet

    if file.suffix.lower() != ".parquet" or not is_file(file):
        return False
    try:
        names = set(parquet.read_schema(file).names)
    except (OSError, ArrowException):
        return False
    return {"uri", "group", "split", "changes", "frame", *_BOX} <= names


def _typed(table: Any, path: Path) -> Any:
    """Return a table whose columns have the types of a catalog, whatever program wrote it.

    Raises:
        SourceError: for a column with values of another kind.
    """
    import pyarrow as pa

    kinds = {
        **{name: (pa.string(), "") for name in TEXT_COLUMNS},
        "frame": (pa.int32(), 0),
        **{name: (pa.float64(), None) for name in _BOX},
        "changes": (pa.list_(pa.string()), None),
    }
    for name, (kind, nothing) in kinds.items():
        column = table.column(name)
        if column.type == kind and not (nothing is not None and column.null_count):
            continue
        try:
            if kind == pa.string() and not _is_text(column.type):
                raise pa.ArrowInvalid(f"text is needed, and it has {column.type}")
            filled = column.cast(kind)
            filled = filled if nothing is None else filled.fill_null(nothing)
        except pa.ArrowException as error:
            raise SourceError(f"the catalog {path} cannot be used: column {name}: {first_line(error)}") from error
        table = table.set_column(table.column_names.index(name), pa.field(name, kind), filled)
    return table


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain) or types.is_null(plain))


class Catalog:
    """An opened catalog: N labelled regions, their taxa and their splits. Rows are numbered from 0 in file order."""

    holds_images = False
    """True if the images are in the collection itself, as in shards, and not in files that it lists."""
    made_again = "build the catalog again from its sources"
    """How it is made anew, as the end of a sentence."""
    leakage: Mapping[str, Any] = MappingProxyType({})
    """What the curation that it comes from found of evaluation sets in its sources; it goes with shards and checkpoints."""
    notes: tuple[str, ...] = ()
    """Lines on what was found when it was opened, for the user."""

    def __init__(
        self, file: Path, table: Any, *, dev_fraction: float = DEV_FRACTION, moved: MovedNames | None = None
    ) -> None:
        self.file = file
        self.table = table
        self.dev_fraction = dev_fraction
        """Share of the groups of ``train`` that is ``dev``, unless a call says otherwise."""
        self._moved = moved
        self._lists: dict[str, list[str]] = {}

    @classmethod
    def open(
        cls, file: str | Path, *, dev_fraction: float = DEV_FRACTION, replace_prefix: Sequence[str] = ()
    ) -> Catalog:
        """Read a catalog.

        Args:
            file: the catalog.
            dev_fraction: share of the groups of ``train`` that is ``dev``.
            replace_prefix: OLD=NEW beginnings of file names, as ``--replace-prefix`` takes them.

        Raises:
            SourceError: if the file is missing, is not Parquet, or is not a catalog.
        """
        import pyarrow as pa
        from pyarrow import parquet

        path = Path(file)
        if is_folder(path):
            raise SourceError(
                f"{path} is a folder and not a catalog; give the .parquet file that catalog build made, for a folder of shards the catalog "
                "that they were written from"
            )
        if not is_file(path):
            raise SourceError(
                f"the catalog {path} does not exist{near_hint(path)}; make one with: "
                f"{command('catalog build', 'TABLE', output=path)}"
            )
        try:
            check_whole(path)
            table = parquet.read_table(path)
            table.validate(full=True)  # text that is not UTF-8 would be found when it is first used
        except (OSError, ExpandsError, pa.ArrowException) as error:
            raise SourceError(
                f"the catalog {path} cannot be read: {first_line(error)}; "
                f"make one with: {command('catalog build', 'TABLE', output='FILE.parquet')}"
            ) from error
        missing = [name for name in (*TEXT_COLUMNS, "frame", *_BOX, "changes") if name not in table.column_names]
        version = check_version(table, path)
        older = with_missing_columns(table, missing, version) if missing else table
        if older is None:
            raise SourceError(
                f"{path} is a table but not a catalog: it lacks {', '.join(missing[:5])}; "
                f"make one from it with: {command('catalog build', path, output='FILE.parquet')}"
            )
        if missing:
            log.warning(
                f"the catalog {path} is of an earlier version (format {version}), which did not have {', '.join(missing)}: read as empty"
            )
        table = _typed(older, path).combine_chunks()  # so that columns in one piece are no copies
        prefixes = PathOptions(replace_prefix=tuple(replace_prefix)).prefixes
        moved = MovedNames(prefixes, path.parent) if prefixes else None
        return cls(path, table, dev_fraction=dev_fraction, moved=moved)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def identity(self) -> str:
        """Sha256 of the file."""
        return file_sha256(self.file)

    @property
    def name(self) -> str:
        """Its file or folder, for messages."""
        return str(self.file)

    @property
    def taxa(self) -> tuple[Taxon, ...]:
        """The distinct lineages of all rows and splits, sorted; each with the first common name in its rows."""
        return self._labels[0]

    @property
    def taxon_of_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Place in ``taxa`` of each row's taxon."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[tuple[Taxon, ...], NDArray[np.int64]]:
        """The distinct lineages, sorted, each with its first common name; and for each row the place of its own.

        Objects are made for distinct lineages only, so millions of rows are quick.
        """
        codes_N = np.zeros(len(self), dtype=np.int64)
        for rank in RANKS:
            name_of_N, names = self.numbered(rank.value)
            codes_N = codes_N * max(1, len(names)) + name_of_N
            codes_N = np.unique(codes_N, return_inverse=True)[1]  # small again, so that the next product stays small
        first_T = np.unique(codes_N, return_index=True)[1].tolist()
        found = [tuple(self._columns[rank.value][row].as_py() or "" for rank in RANKS) for row in first_T]
        order = sorted(range(len(found)), key=found.__getitem__)
        place_T = np.empty(len(found), dtype=np.int64)
        place_T[order] = np.arange(len(found))
        taxon_of_N: NDArray[np.int64] = place_T[codes_N] if found else codes_N
        common_names = self._columns["common_name"].fill_null("")
        with_name = np.flatnonzero(np.asarray(common_names.to_numpy(zero_copy_only=False) != ""))
        taxa, first = np.unique(taxon_of_N[with_name], return_index=True)
        common = {int(taxon): common_names[int(with_name[at])].as_py() for taxon, at in zip(taxa, first, strict=True)}
        return tuple(Taxon.of(found[old], common.get(place, "")) for place, old in enumerate(order)), taxon_of_N

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Options and counts of ``catalog build``; empty for a table from elsewhere."""
        stored = (self.table.schema.metadata or {}).get(FACTS)
        if not stored:
            return {}
        return parse_document(stored, dict[str, Any], name="the metadata of the catalog", error=SourceError)

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """Each column in one piece, so that single values are read quickly without a list of millions of objects."""
        return {name: _one_piece(self.table.column(name)) for name in (*TEXT_COLUMNS, "frame", *_BOX)}

    def column(self, name: str) -> list[str]:
        """Return one of ``TEXT_COLUMNS``, one text per row."""
        if name not in self._lists:
            self._lists[name] = self._columns[name].to_pylist()
        return self._lists[name]

    def numbered(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return each row's place among the distinct texts of a column, and these texts, without a list of all rows."""
        column = self._columns[name].fill_null("").dictionary_encode()
        return column.indices.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()

    def taxon(self, row: int) -> Taxon:
        """Return the row's own lineage with its own common name."""
        return Taxon.of(self.taxa[self.taxon_of_N[row]].lineage, self._columns["common_name"][row].as_py() or "")

    def path(self, row: int) -> Path:
        """Return the image's file; a relative uri is relative to the catalog's folder.

        A replaced beginning is one of the uri, or of the path that it means.
        """
        uri = self._columns["uri"][row].as_py()
        written = file_of(uri, self.file.parent)
        if self._moved and (new := self._moved.new_name(uri) or self._moved.new_name(os.path.abspath(written))):  # noqa: PTH100
            return file_of(new, Path())
        return written

    def encoded(self, row: int) -> EncodedRegion:
        """Return the bytes of the row's image with its region, compared with the recorded sha256: every read is verified.

        Raises:
            ImageError: if they cannot be read, or are other bytes than when the catalog was built.
        """
        data = verified(read_bytes(self.path(row)), self._columns["sha256"][row].as_py())
        return EncodedRegion(data, self.box(row), self.frame(row))

    def unverified(self, rows: NDArray[np.int64]) -> int:
        """Return the number of rows without a recorded sha256, whose images are read as they are."""
        hash_of_N, texts = self.numbered("sha256")
        is_recorded = np.array([is_hash(text) for text in texts], dtype=bool)
        return int((~is_recorded[hash_of_N[rows]]).sum()) if len(rows) else 0

    def frame(self, row: int) -> int:
        return int(self._columns["frame"][row].as_py())

    def box(self, row: int) -> Box | None:
        """Return the row's region; None is the whole image."""
        x, y, w, h = (self._columns[name][row].as_py() for name in _BOX)
        return None if x is None or y is None or w is None or h is None else (x, y, w, h)

    def key(self, row: int) -> str:
        """Return the name of a labelled region: its uri, with a media fragment if it has a frame or a box."""
        box, frame = self.box(row), self.frame(row)
        parts = [f"frame={frame}"] if frame else []
        if box is not None:
            parts.append("xywh=" + ",".join(f"{value:g}" for value in box))
        uri: str = self._columns["uri"][row].as_py()
        return f"{uri}#{'&'.join(parts)}" if parts else uri

    def group(self, row: int) -> str:
        """Return the row's group; ``row N`` for a row without one."""
        return self._columns["group"][row].as_py() or f"row {row}"

    def parts(self) -> str:
        """Return the splits with their sizes for a message: "train 680 (of which dev 68), val 170"."""
        counts = Counter(split or "(no split)" for split in self.column("split"))
        texts = {split: f"{split} {count}" for split, count in sorted(counts.items())}
        if "train" in texts and "dev" not in texts:
            texts["train"] += f" (of which dev {len(self.rows_of('dev'))})"
        return ", ".join(texts.values()) or "no rows"

    def rows_of(self, part: str, *, dev_fraction: float | None = None) -> NDArray[np.int64]:
        """Return the rows of a part, ascending: a word of the ``split`` column, ``all``, ``dev``, or ``train`` without its ``dev``.

        ``dev`` is the table's own split of this name; without one it is cut out of ``train`` by the hash of the group.
        """
        if part == "all":
            return np.arange(len(self))
        split_of_N, texts = self.numbered("split")
        words = {word: code for code, word in enumerate(texts)}
        if part not in ("train", "dev") or "dev" in words:
            return np.flatnonzero(split_of_N == words.get(part, -1))
        train = np.flatnonzero(split_of_N == words.get("train", -1))
        share = self.dev_fraction if dev_fraction is None else dev_fraction
        is_dev = held_out("dev", [self.group(row) for row in train.tolist()], self.taxon_of_N[train], share)
        return train[is_dev] if part == "dev" else train[~is_dev]


def held_out(word: str, groups: Sequence[Any], taxon_of_N: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Return a mask of the rows that are held out: a group whose hash is below ``fraction``, unless a taxon would lose all groups.

    The choice is the same on every machine and for any order of rows; a group is whole on one side. Another ``word`` gives
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
    """Return a number from 0 to 1 that depends on the text alone (sha256), evenly spread."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def drawn_in_turn(taxon_N: NDArray[np.int64], share_N: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return at most that many rows, ascending: the first of every taxon by its share, then the second of each, and so on.

    Args:
        taxon_N: the taxon of each row.
        share_N: a number that orders the rows of a taxon, such as :func:`hashed_share` of its key.
        most: largest number of rows.
    """
    if len(taxon_N) <= most:
        return np.arange(len(taxon_N))
    order = np.lexsort((share_N, taxon_N))
    starts = np.flatnonzero(np.diff(taxon_N[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return np.sort(order[np.lexsort((share_N[order], turn))[:most]])


def _one_piece(column: Any) -> Any:
    """Return a chunked column of pyarrow as one array, without a copy if it is one already."""
    import pyarrow as pa

    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
