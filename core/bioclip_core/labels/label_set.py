"""The label set: taxa in taxonomic order, their embeddings as a memory map, and the spans that ranks are sums over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError, UsageError
from bioclip_core.identity import settings_id
from bioclip_core.taxonomy import RANKS, Rank, Taxon

MANIFEST, TAXA, EMBEDDINGS = "label_set.json", "taxa.parquet", "embeddings.npy"
FORMAT_VERSION = 1
JOINED_VERSION = 2
"""Of a manifest whose blocks are ``[start, stop, place in "kinds"]``; the scales stand in ``kinds``, once each."""

GROUP, LABEL = "group", "label"
COLUMNS = (GROUP, *(rank.value for rank in RANKS), "common_name", "source_id")


@dataclass(frozen=True, slots=True)
class Block:
    """A run of rows whose similarities are on one scale: logit = scale * cosine + bias."""

    start: int
    stop: int
    kind: str
    """``text`` or ``prototype``."""
    scale: float
    bias: float = 0.0
    feature_mean: tuple[float, ...] | None = None
    """Subtracted from a feature (D numbers, then L2 again) before the cosine; for prototypes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The R rows, wherever they stand, whose similarities are on one scale."""

    scale: float
    bias: float
    feature_mean: tuple[float, ...] | None
    rows_R: NDArray[np.int64]
    """Ascending."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The taxa of one level as runs of rows, in row order; S of them cover all N rows without a gap."""

    starts_S: NDArray[np.int64]
    ends_S: NDArray[np.int64]
    named_S: NDArray[np.bool_]
    """False where the lineages of a span have no name at this level; they stand under their nearest named ancestor."""

    @property
    def single(self) -> bool:
        """Whether every span is one row, so that sums are the rows themselves."""
        return bool(len(self.starts_S) == (self.ends_S[-1] if len(self.ends_S) else 0))


class LabelSet:
    """N labels for one model: a folder of ``taxa.parquet``, ``embeddings.npy`` and ``label_set.json``, or in memory.

    Opening maps the embeddings and reads the names, dictionary-encoded; nothing of size N×D is loaded.
    """

    def __init__(
        self,
        table: Any,
        embeddings_ND: NDArray[np.float16],
        manifest: dict[str, Any],
        *,
        kept_N: NDArray[np.bool_] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.table = table
        self.embeddings_ND = embeddings_ND
        self.manifest = manifest
        self.folder = folder
        self.blocks = _blocks(manifest)
        self.usable_N = np.ones(len(self), dtype=bool)
        self.usable_N[manifest.get("masked", [])] = False
        self.kept_N = self.usable_N if kept_N is None else self.usable_N & kept_N

    def __len__(self) -> int:
        return int(self.embeddings_ND.shape[0])

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.embeddings_ND.shape[1])

    @property
    def is_custom(self) -> bool:
        """Whether the labels are words of the user's own instead of taxa."""
        return bool(self.manifest.get("custom", False))

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that answers can be asked at, most general first."""
        return (GROUP, LABEL) if self.is_custom else tuple(rank.value for rank in RANKS)

    def level(self, rank: str) -> str:
        """The level that a requested rank means here: custom labels answer ``species`` with their labels.

        Raises:
            UsageError: if the label set has no such level.
        """
        if self.is_custom and rank == Rank.SPECIES:
            return LABEL
        if rank not in self.levels:
            raise UsageError(f"rank {rank!r}: this label set answers at {', '.join(self.levels)}")
        return rank

    def identity(self) -> dict[str, Any]:
        """What answers are tied to: the label set's own id, and the subset of its labels that is in use."""
        subset = None
        if not np.array_equal(self.kept_N, self.usable_N):
            subset = hashlib.sha256(np.packbits(self.kept_N).tobytes()).hexdigest()
        joined = "kinds" in self.manifest  # then the id holds the scales, and the mean would stand here for every block
        blocks = self.manifest["blocks"] if joined else [asdict(block) for block in self.blocks]
        return {"label_set": self.manifest["id"], "subset": subset, "blocks": blocks}

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The rows by their scale, the kind of most rows first; together they are all N."""
        runs: dict[tuple[Any, ...], list[NDArray[np.int64]]] = {}
        for block in self.blocks:
            key = (block.scale, block.bias, block.feature_mean)
            runs.setdefault(key, []).append(np.arange(block.start, block.stop))
        kinds = [Kind(scale, bias, mean, np.concatenate(rows)) for (scale, bias, mean), rows in runs.items()]
        return tuple(sorted(kinds, key=lambda kind: -len(kind.rows_R)))

    @classmethod
    def open(cls, folder: str | Path) -> LabelSet:
        """Open a label set's folder.

        Raises:
            LabelSetError: if the folder is none, was left unfinished, or its files do not fit together.
        """
        folder = Path(folder).expanduser()
        manifest = _read_manifest(folder)
        try:
            embeddings_ND = np.load(folder / EMBEDDINGS, mmap_mode="c")  # private: torch wants memory it could write to
            table = _read_table(folder / TAXA)
        except (OSError, ValueError, KeyError, EOFError) as error:  # KeyError: a column is not there
            reason = " ".join(str(error).split())[:200]  # pyarrow writes paragraphs
            raise LabelSetError(f"label set {folder} is damaged: {reason}; build or import it again") from None
        shape = (manifest["count"], manifest["dimension"])
        if embeddings_ND.shape != shape or embeddings_ND.dtype != np.float16 or table.num_rows != shape[0]:
            raise LabelSetError(
                f"label set {folder} is damaged: {MANIFEST} says {shape[0]} labels of {shape[1]} numbers, but {EMBEDDINGS} has "
                f"{embeddings_ND.dtype} {embeddings_ND.shape} and {TAXA} {table.num_rows} rows; build or import it again"
            )
        return cls(table, embeddings_ND, manifest, folder=folder)

    def check_encoder(self, identity: dict[str, str]) -> None:
        """Refuse a model that the embeddings do not belong to.

        Raises:
            LabelSetError: naming both models.
        """
        made_for = self.manifest["encoder"]
        if made_for["weights_sha256"] != identity["weights_sha256"]:
            raise LabelSetError(
                f"label set {self.folder or '(in memory)'} was made for {made_for['source']} (weights {made_for['weights_sha256'][:12]}), "
                f"not for {identity['source']} (weights {identity['weights_sha256'][:12]}); make one with: "
                f"bioclip-plugin labels build TABLE --model {identity['source']} --output FOLDER"
            )

    def taxon(self, row: int) -> Taxon:
        """The taxon of one row."""
        *lineage, common_name, source_id = (self._name(column, row) for column in COLUMNS[1:])
        return Taxon.of(lineage, common_name, source_id)

    def group(self, row: int) -> str:
        """The group of a custom label; empty where it has none."""
        return self._name(GROUP, row)

    def _name(self, column: str, row: int) -> str:
        return str(self._dictionaries[column][int(self._codes[column][row])].as_py())

    @cached_property
    def _dictionaries(self) -> dict[str, Any]:
        return {name: self.column(name).dictionary for name in COLUMNS}  # to fetch one anew costs more than to use it

    def taxon_at(self, row: int, level: str) -> tuple[Taxon, str]:
        """The taxon of a row's span at a level, and its own rank (the level, or nearest named ancestor's)."""
        if level == GROUP:
            return Taxon(common_name=self.group(row)), GROUP
        if level == LABEL:
            return self.taxon(row), LABEL
        taxon = self.taxon(row).truncated(Rank(level))
        return taxon, taxon.rank or LABEL

    def column(self, name: str) -> Any:
        """One column of names as a pyarrow dictionary array."""
        return self.table.column(name).chunk(0)

    def codes(self, name: str) -> NDArray[np.int32]:
        """One column as N integers, equal where the names are equal."""
        return self._codes[name]

    @cached_property
    def _codes(self) -> dict[str, NDArray[np.int32]]:
        return {name: self.column(name).indices.to_numpy(zero_copy_only=False) for name in COLUMNS}

    def spans(self, level: str) -> Spans:
        """The taxa of one level, keyed by the whole path from the kingdom."""
        return self._spans[level]

    @cached_property
    def _spans(self) -> dict[str, Spans]:
        keys = (GROUP, "common_name") if self.is_custom else self.levels
        changed = np.zeros(max(len(self) - 1, 0), dtype=bool)
        spans = {}
        for level, key in zip(self.levels, keys, strict=True):
            codes = self.codes(key)
            changed |= codes[1:] != codes[:-1]
            starts = np.concatenate([[0], np.flatnonzero(changed) + 1]).astype(np.int64)
            ends = np.concatenate([starts[1:], [len(self)]]).astype(np.int64)
            spans[level] = Spans(starts, ends, codes[starts] != self._code_of_nothing(key))
        return spans

    def _code_of_nothing(self, column: str) -> int:
        return int(self.column(column).dictionary.index("").as_py())


def in_memory(
    taxa: Sequence[Taxon],
    embeddings_ND: NDArray[Any],
    encoder: dict[str, str],
    blocks: Sequence[Block],
    *,
    groups: Sequence[str] | None = None,
    custom: bool = False,
) -> LabelSet:
    """A label set without a folder; rows are put into taxonomic order (custom labels: by group).

    Args:
        taxa: N taxa; a custom label is a taxon with nothing but its words as common name.
        embeddings_ND: N×D, L2-normalised.
        encoder: the identity of the model that the embeddings belong to.
        blocks: the scales of the rows; one block, since the rows are sorted.
        groups: the group of each custom label.
        custom: whether the labels are words of the user's own.
    """
    table = table_of(taxa, groups)
    order = taxonomic_order(table)
    table = encoded(table.take(order))
    rows = np.ascontiguousarray(embeddings_ND[np.asarray(order)], dtype=np.float16)
    digest = hashlib.sha256(rows.tobytes() + json.dumps(table.to_pydict(), sort_keys=True).encode()).hexdigest()
    manifest = {
        "format_version": FORMAT_VERSION, "count": len(rows), "dimension": int(rows.shape[1]), "encoder": encoder,
        "blocks": [asdict(block) for block in blocks], "masked": [], "custom": custom, "id": settings_id({"contents": digest}),
    }  # fmt: skip
    return LabelSet(table, rows, manifest)


def custom_labels(labels: Sequence[str], encoder: Any, groups: Sequence[str] | None = None) -> LabelSet:
    """A label set of the user's own words, embedded by the encoder's text tower with ``a photo of {label}.``

    Raises:
        UsageError: if there are no labels, one stands there twice, or the groups are not as many.
        NoTextTower: if the encoder is image-only.
    """
    words = [label.strip() for label in labels]
    if not words or not all(words) or len(set(words)) != len(words):
        raise UsageError("custom labels: give at least one, none of them empty, each once")
    if groups is not None and len(groups) != len(words):
        raise UsageError(f"custom labels: {len(groups)} groups for {len(words)} labels; give one each, empty for none")
    embeddings_ND = encoder.encode_texts([f"a photo of {word}." for word in words])
    block = Block(0, len(words), "text", encoder.logit_scale, encoder.logit_bias)
    taxa = [Taxon(common_name=word) for word in words]
    return in_memory(taxa, embeddings_ND, encoder.identity, [block], groups=groups, custom=True)


def table_of(taxa: Sequence[Taxon], groups: Sequence[str] | None = None) -> Any:
    """Taxa as a pyarrow table with the columns of ``taxa.parquet``."""
    import pyarrow as pa

    columns: dict[str, list[str]] = {GROUP: list(groups) if groups is not None else [""] * len(taxa)}
    for rank in RANKS:
        columns[rank.value] = [taxon.lineage[rank.depth] for taxon in taxa]
    columns["common_name"] = [taxon.common_name for taxon in taxa]
    columns["source_id"] = [taxon.source_id for taxon in taxa]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def taxonomic_order(table: Any) -> Any:
    """Indices that sort a table of taxa by group and lineage, equal ones as they came."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbered = table.append_column("_row", pa.array(np.arange(table.num_rows)))
    return pc.sort_indices(numbered, sort_keys=[(name, "ascending") for name in (*COLUMNS[:-1], "_row")])


def encoded(table: Any) -> Any:
    """The table with every column dictionary-encoded in one chunk, each dictionary holding the empty name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for name in COLUMNS:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            array = column.unify_dictionaries().combine_chunks()
        else:
            array = pc.dictionary_encode(column.combine_chunks())
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        if array.dictionary.index("").as_py() < 0:
            array = pa.DictionaryArray.from_arrays(array.indices, pa.concat_arrays([array.dictionary, pa.array([""])]))
        columns[name] = array
    return pa.table(columns)


def _read_table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = encoded(pq.read_table(path, columns=list(COLUMNS), read_dictionary=list(COLUMNS)))
    pa.default_memory_pool().release_unused()  # reading a million names leaves some 200 MB that nobody needs any more
    return table


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise LabelSetError(
            f"label set {folder}: no such folder; make one with: bioclip-plugin labels build TABLE --output {folder}"
        )
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        unfinished = (folder / "build.json").is_file()
        say = (
            "was not finished; run the same labels build again, it goes on where it was"
            if unfinished
            else f"has no {MANIFEST}"
        )
        raise LabelSetError(f"label set {folder} {say}") from None
    except (OSError, ValueError) as error:
        raise LabelSetError(f"label set {folder}: {MANIFEST} cannot be read ({error})") from None
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version not in (FORMAT_VERSION, JOINED_VERSION):
        raise LabelSetError(
            f"label set {folder} has format {version!r}; this version reads {FORMAT_VERSION} and {JOINED_VERSION}: "
            "upgrade, or build it again"
        )
    if problem := _fault_of(manifest):
        raise LabelSetError(f"label set {folder} is damaged: {MANIFEST} {problem}; build or import it again")
    return manifest


def _fault_of(manifest: dict[str, Any]) -> str | None:
    """What a manifest lacks; None where it says all that is needed, and its blocks are all rows in order."""
    missing = [key for key in ("count", "dimension", "encoder", "blocks", "id") if key not in manifest]
    if missing:
        return f"has no {', '.join(missing)}"
    try:
        blocks = _blocks(manifest)
    except (TypeError, KeyError, IndexError, ValueError):
        return "has a block of rows that says no place or no scale"
    stop = 0
    for block in blocks:
        if block.start != stop:
            return f"has a block of rows that does not begin at {stop}"
        if len(block.feature_mean or [None] * manifest["dimension"]) != manifest["dimension"]:
            return f"has a block whose feature mean is not {manifest['dimension']} numbers"
        stop = block.stop
    return None if stop == manifest["count"] else f"has blocks of {stop} rows for {manifest['count']} labels"


def _blocks(manifest: dict[str, Any]) -> tuple[Block, ...]:
    """A manifest's blocks: each whole, or (joined sets) its place and the number of its kind."""
    if "kinds" not in manifest:
        return tuple(Block(**{**b, "feature_mean": _tuple(b.get("feature_mean"))}) for b in manifest["blocks"])
    kinds = [{**kind, "feature_mean": _tuple(kind.get("feature_mean"))} for kind in manifest["kinds"]]
    return tuple(Block(start, stop, **kinds[kind]) for start, stop, kind in manifest["blocks"])


def _tuple(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return tuple(values) if values is not None else None
