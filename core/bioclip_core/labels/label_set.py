"""The label set: taxa in taxonomic order, their embeddings as a memory map, and the rows of each taxon."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, LabelSetError, UsageError
from bioclip_core.files.near_names import near_hint
from bioclip_core.identity import settings_id
from bioclip_core.taxonomy import RANKS, Rank, Taxon

MANIFEST, TAXA, EMBEDDINGS = "label_set.json", "taxa.parquet", "embeddings.npy"
FORMAT_VERSION = 1
JOINED_VERSION = 2
"""Format of a manifest whose blocks are ``[start, stop, place in "kinds"]``; ``kinds`` holds each scale once."""

GROUP, LABEL = "group", "label"
COLUMNS = (GROUP, *(rank.value for rank in RANKS), "common_name", "source_id")


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows whose similarities are on one scale: logit = scale * cosine + bias."""

    start: int
    stop: int
    kind: str
    """``text`` or ``prototype``."""
    scale: float
    bias: float = 0.0
    feature_mean: tuple[float, ...] | None = None
    """D numbers to subtract from a feature before the cosine, with another L2 normalisation; for prototypes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """All R rows of a label set whose similarities are on one scale."""

    scale: float
    bias: float
    feature_mean: tuple[float, ...] | None
    rows_R: NDArray[np.int64]
    """Ascending."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The taxa of one level as runs of rows, in row order; S of them cover all N rows without gaps."""

    starts_S: NDArray[np.int64]
    ends_S: NDArray[np.int64]
    named_S: NDArray[np.bool_]
    """False for a span whose lineages have no name at this level; it belongs to their nearest named ancestor."""


class LabelSet:
    """N labels for one model, in memory or in a folder with ``taxa.parquet``, ``embeddings.npy`` and ``label_set.json``.

    Opening a folder maps the embeddings and reads the names, dictionary-encoded; it loads nothing of size N×D.
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
        self.dimension = int(embeddings_ND.shape[1])
        """D, the length of an embedding."""
        self.is_custom = bool(manifest.get("custom", False))
        """True if the labels are the user's own words instead of taxa."""
        self.levels: tuple[str, ...] = (GROUP, LABEL) if self.is_custom else tuple(rank.value for rank in RANKS)
        """The levels of answers, most general first."""
        self.blocks = _blocks(manifest)
        self.usable_N = np.ones(len(self), dtype=bool)
        self.usable_N[manifest.get("masked", [])] = False
        self.kept_N = self.usable_N if kept_N is None else self.usable_N & kept_N

    def __len__(self) -> int:
        return int(self.embeddings_ND.shape[0])

    def level(self, rank: str) -> str:
        """Return the level for a requested rank. Custom labels answer ``species`` with their labels.

        Raises:
            UsageError: if the label set lacks the level.
        """
        if self.is_custom and rank == Rank.SPECIES:
            return LABEL
        if rank not in self.levels:
            raise DataError(f"rank {rank!r}: this label set answers at {', '.join(self.levels)}")
        return rank

    def identity(self) -> dict[str, Any]:
        """Return what answers depend on: the label set's id, the subset of its labels in use, and their scales."""
        is_whole = np.array_equal(self.kept_N, self.usable_N)
        subset = None if is_whole else hashlib.sha256(np.packbits(self.kept_N).tobytes()).hexdigest()
        # The id of a joined set covers the scales, and full blocks would repeat the mean.
        blocks = self.manifest["blocks"] if "kinds" in self.manifest else [asdict(block) for block in self.blocks]
        return {"label_set": self.manifest["id"], "subset": subset, "blocks": blocks}

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The rows by their scale, the kind with most rows first; together they are all N."""
        runs: dict[tuple[Any, ...], list[NDArray[np.int64]]] = {}
        for block in self.blocks:
            rows_R = np.arange(block.start, block.stop)
            runs.setdefault((block.scale, block.bias, block.feature_mean), []).append(rows_R)
        kinds = (Kind(scale, bias, mean, np.concatenate(rows)) for (scale, bias, mean), rows in runs.items())
        return tuple(sorted(kinds, key=lambda kind: -len(kind.rows_R)))

    @classmethod
    def open(cls, folder: str | Path) -> LabelSet:
        """Open a label set's folder.

        Raises:
            LabelSetError: if the folder does not exist, is unfinished, or its files do not fit together.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(folder).expanduser()
        manifest = _read_manifest(folder)
        try:
            embeddings_ND = np.load(folder / EMBEDDINGS, mmap_mode="c")  # "c": torch wants writable memory
            table = encoded(pq.read_table(folder / TAXA, columns=list(COLUMNS), read_dictionary=list(COLUMNS)))
        except (OSError, ValueError, KeyError, EOFError) as error:  # KeyError: a column is missing
            raise LabelSetError(
                f"label set {folder} is damaged: {' '.join(str(error).split())[:200]}; build or import it again"
            ) from None
        pa.default_memory_pool().release_unused()  # reading a million names leaves some 200 MB of unused memory
        shape = (manifest["count"], manifest["dimension"])
        if embeddings_ND.shape != shape or embeddings_ND.dtype != np.float16 or table.num_rows != shape[0]:
            raise LabelSetError(
                f"label set {folder} is damaged: {MANIFEST} says {shape[0]} labels of {shape[1]} numbers, but {EMBEDDINGS} has "
                f"{embeddings_ND.dtype} {embeddings_ND.shape} and {TAXA} {table.num_rows} rows; build or import it again"
            )
        return cls(table, embeddings_ND, manifest, folder=folder)

    def check_encoder(self, identity: dict[str, str]) -> None:
        """Refuse a model that the embeddings were not made for.

        Raises:
            LabelSetError: with both models.
        """
        made_for = self.manifest["encoder"]
        if made_for["weights_sha256"] != identity["weights_sha256"]:
            raise LabelSetError(
                f"label set {self.folder or '(in memory)'} was made for {made_for['source']} (weights {made_for['weights_sha256'][:12]}), "
                f"not for {identity['source']} (weights {identity['weights_sha256'][:12]}); make one with: "
                f"bioclip-plugin labels build TABLE --model {identity['source']} --output FOLDER"
            )

    def taxon(self, row: int) -> Taxon:
        """Return the taxon of one row."""
        *lineage, common_name, source_id = (self._name(column, row) for column in COLUMNS[1:])
        return Taxon.of(lineage, common_name, source_id)

    def group(self, row: int) -> str:
        """Return the group of a custom label; empty if it has none."""
        return self._name(GROUP, row)

    def _name(self, column: str, row: int) -> str:
        return str(self.dictionaries[column][int(self.codes[column][row])].as_py())

    def taxon_at(self, row: int, level: str) -> tuple[Taxon, str]:
        """Return the taxon of a row's span at a level, and its rank (the level, or that of the nearest named ancestor)."""
        if level == GROUP:
            return Taxon(common_name=self.group(row)), GROUP
        if level == LABEL:
            return self.taxon(row), LABEL
        taxon = self.taxon(row).truncated(Rank(level))
        return taxon, str(taxon.rank or LABEL)

    @cached_property
    def dictionaries(self) -> dict[str, Any]:
        """The distinct names of each column, as a pyarrow array; fetching one costs more than using it."""
        return {name: self.table.column(name).chunk(0).dictionary for name in COLUMNS}

    @cached_property
    def codes(self) -> dict[str, NDArray[np.int32]]:
        """N places in the dictionary of each column, equal for equal names."""
        return {name: self.table.column(name).chunk(0).indices.to_numpy(zero_copy_only=False) for name in COLUMNS}

    def spans(self, level: str) -> Spans:
        """Return the taxa of one level. Taxa with different paths from the kingdom are different."""
        return self._spans[level]

    @cached_property
    def _spans(self) -> dict[str, Spans]:
        keys = (GROUP, "common_name") if self.is_custom else self.levels
        changed = np.zeros(max(len(self) - 1, 0), dtype=bool)
        spans = {}
        for level, key in zip(self.levels, keys, strict=True):
            codes = self.codes[key]
            changed |= codes[1:] != codes[:-1]
            starts = np.concatenate([[0], np.flatnonzero(changed) + 1]).astype(np.int64)
            spans[level] = Spans(starts, np.append(starts[1:], len(self)), self.named(key)[starts])
        return spans

    def named(self, column: str) -> NDArray[np.bool_]:
        """Return for each of N rows True if it has a name in a column."""
        return np.asarray(self.codes[column] != int(self.dictionaries[column].index("").as_py()))


def in_memory(
    taxa: Sequence[Taxon],
    embeddings_ND: NDArray[Any],
    encoder: dict[str, str],
    blocks: Sequence[Block],
    *,
    groups: Sequence[str] | None = None,
    custom: bool = False,
) -> LabelSet:
    """Return a label set without a folder, with its rows in taxonomic order (custom labels: by group).

    Args:
        taxa: N taxa; a custom label is a taxon that has only a common name.
        embeddings_ND: N×D, L2-normalised.
        encoder: identity of the model that the embeddings belong to.
        blocks: scales of the rows; one block, since the rows are sorted.
        groups: group of each custom label.
        custom: the labels are the user's own words.
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
    """Return a label set of the user's own words, which the encoder's text tower embeds as ``a photo of {label}.``

    Raises:
        UsageError: without labels, if a label is empty or duplicated, or the number of groups differs.
        NoTextTower: if the encoder is image-only.
    """
    words = [label.strip() for label in labels]
    if not words or not all(words) or len(set(words)) != len(words):
        raise UsageError("custom labels: give at least one, without empty or duplicate labels")
    if groups is not None and len(groups) != len(words):
        raise UsageError(
            f"custom labels: {len(groups)} groups for {len(words)} labels; give one group per label, empty for none"
        )
    return in_memory(
        [Taxon(common_name=word) for word in words],
        encoder.encode_texts([f"a photo of {word}." for word in words]),
        encoder.identity,
        [Block(0, len(words), "text", encoder.logit_scale, encoder.logit_bias)],
        groups=groups,
        custom=True,
    )


def distinct_taxa(taxa: Iterable[Taxon]) -> tuple[list[Taxon], NDArray[np.int64]]:
    """Return one taxon per lineage, with the first common name of its rows, and the lineage's number for each row."""
    number: dict[tuple[str, ...], int] = {}
    labels: list[Taxon] = []
    label_of: list[int] = []
    for taxon in taxa:
        index = number.setdefault(taxon.lineage, len(labels))
        label_of.append(index)
        if index == len(labels):
            labels.append(taxon)
        elif taxon.common_name and not labels[index].common_name:
            labels[index] = replace(labels[index], common_name=taxon.common_name)
    return labels, np.array(label_of, dtype=np.int64)


def table_of(taxa: Sequence[Taxon], groups: Sequence[str] | None = None) -> Any:
    """Return taxa as a pyarrow table with the columns of ``taxa.parquet``."""
    import pyarrow as pa

    columns = {
        GROUP: [""] * len(taxa) if groups is None else groups,
        **{rank.value: [taxon.lineage[rank.depth] for taxon in taxa] for rank in RANKS},
        "common_name": [taxon.common_name for taxon in taxa],
        "source_id": [taxon.source_id for taxon in taxa],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def taxonomic_order(table: Any) -> Any:
    """Return the indices that sort a table of taxa by group and lineage; equal ones keep their order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbered = table.append_column("_row", pa.array(np.arange(table.num_rows)))
    return pc.sort_indices(numbered, sort_keys=[(name, "ascending") for name in (*COLUMNS[:-1], "_row")])


def encoded(table: Any) -> Any:
    """Return the table with every column dictionary-encoded in one chunk; each dictionary has the empty name."""
    import pyarrow as pa

    columns = {}
    for name in COLUMNS:
        array = table.column(name).unify_dictionaries().combine_chunks().dictionary_encode()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        if array.dictionary.index("").as_py() < 0:
            array = pa.DictionaryArray.from_arrays(array.indices, pa.concat_arrays([array.dictionary, pa.array([""])]))
        columns[name] = array
    return pa.table(columns)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise LabelSetError(
            f"label set {folder}: no such folder{near_hint(folder)}; make one with: bioclip-plugin labels build TABLE --output {folder}"
        )
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        is_draft = (folder / "build.json").is_file()
        raise LabelSetError(
            f"label set {folder} was not finished; run the same labels build again, which resumes it"
            if is_draft
            else f"label set {folder} has no {MANIFEST}"
        ) from None
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
    """Return the fault of a manifest; None if it is complete and its blocks cover all rows in order."""
    missing = [key for key in ("count", "dimension", "encoder", "blocks", "id") if key not in manifest]
    if missing:
        return f"has no {', '.join(missing)}"
    try:
        blocks = _blocks(manifest)
    except (TypeError, KeyError, IndexError, ValueError):
        return "has a block of rows without its place or scale"
    stop = 0
    for block in blocks:
        if block.start != stop:
            return f"has a block of rows that does not start at {stop}"
        if len(block.feature_mean or [None] * manifest["dimension"]) != manifest["dimension"]:
            return f"has a block whose feature mean does not have {manifest['dimension']} numbers"
        stop = block.stop
    return None if stop == manifest["count"] else f"has blocks of {stop} rows for {manifest['count']} labels"


def _blocks(manifest: dict[str, Any]) -> tuple[Block, ...]:
    """Return a manifest's blocks, which it holds in full or (joined sets) as place and number of their kind."""
    scales = [
        {**scale, "feature_mean": None if scale.get("feature_mean") is None else tuple(scale["feature_mean"])}
        for scale in manifest.get("kinds", manifest["blocks"])
    ]
    if "kinds" not in manifest:
        return tuple(Block(**scale) for scale in scales)
    return tuple(Block(start, stop, **scales[kind]) for start, stop, kind in manifest["blocks"])
