"""The label set: taxa in taxonomic order, their embeddings as a memory map, and the rows of each taxon."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import faults_of_features
from bioclip_core.errors import DataError, LabelSetError, ModelError, UsageError, raise_if_of_host
from bioclip_core.files.homes import with_home
from bioclip_core.identity import settings_id
from bioclip_core.labels.manifest import (
    EMBEDDINGS,
    FORMAT_VERSION,
    MANIFEST,
    PROBE_VERSION,
    TAXA,
    Block,
    MadeFor,
    RowScales,
    check_made_for,
    is_sealed,
    read_manifest,
)
from bioclip_core.labels.verifying import Unfit, check_id, check_order, damaged, open_embeddings, read_taxa
from bioclip_core.lineages import JoinedLineages, join_taxa
from bioclip_core.models import FoundModel
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import RANKS, Rank, Taxon

log = logging.getLogger("bioclip_plugin.labels")

GROUP, LABEL = "group", "label"
COLUMNS = (GROUP, *(rank.value for rank in RANKS), "common_name", "source_id")


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

    Opening a folder checks its files, maps the embeddings and reads the names, dictionary-encoded; it keeps nothing of size
    N×D in memory.
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
        rows = manifest["rows"] if manifest.get("format_version") == PROBE_VERSION else None
        self.row_scales = None if rows is None else RowScales(tuple(rows["factor"]), tuple(rows["bias"]))
        """Factor and bias of each row of a probe; None for other label sets."""
        self.usable_N = np.ones(len(self), dtype=bool)
        self.usable_N[manifest.get("masked", [])] = False
        self.kept_N = self.usable_N if kept_N is None else self.usable_N & kept_N

    def __len__(self) -> int:
        return int(self.embeddings_ND.shape[0])

    @cached_property
    def read_only(self) -> LabelSet:
        """A view of this label set whose arrays cannot be written and whose manifest is a copy: for plugins."""
        view = copy.copy(self)
        for name in ("embeddings_ND", "usable_N", "kept_N"):
            array = getattr(self, name).view()
            array.flags.writeable = False
            setattr(view, name, array)
        view.manifest = copy.deepcopy(self.manifest)
        return view

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
            LabelSetError: if the folder does not exist or is unfinished, or its files are not those that its manifest
                describes, do not fit together, or hold numbers that cannot be compared with a feature.
        """
        import pyarrow as pa

        folder = with_home(folder, LabelSetError)
        written, manifest = read_manifest(folder)
        try:
            embeddings_ND, sha256_of_rows = open_embeddings(folder, manifest)
            names, sha256_of_names = read_taxa(folder, manifest, COLUMNS)
            table = encoded(names)
            check_order(table, COLUMNS[:-2], sha256_of_names)
            digests = {TAXA: sha256_of_names, EMBEDDINGS: sha256_of_rows}
            is_proven = not manifest.unverified or check_id(written, manifest, digests)
        except (OSError, Unfit) as error:
            raise_if_of_host(error)
            raise damaged(folder, error) from None
        pa.default_memory_pool().release_unused()  # reading a million names leaves some 200 MB of unused memory
        unhashed = [
            *([] if is_proven else manifest.unverified),
            *([] if is_sealed(written) else ["scales and masked rows"]),
        ]
        if unhashed:  # of an earlier version, or of another program
            log.warning(
                "label set %s: %s has no sha256 of %s, which therefore cannot be verified; build or import it again",
                folder, MANIFEST, " and ".join(unhashed),
            )  # fmt: skip
        return cls(table, embeddings_ND, written, folder=folder)

    def check_encoder(self, identity: Mapping[str, str]) -> None:
        """Refuse a model that the embeddings were not made for.

        Raises:
            LabelSetError: with both models.
        """
        check_made_for(MadeFor(**self.manifest["encoder"]), identity, self.folder)

    def check_model(self, model: FoundModel) -> None:
        """Refuse a model that the embeddings were not made for, or whose features have another length.

        Raises:
            LabelSetError: with both models, or both lengths.
        """
        self.check_encoder(model.identity())
        length = model.config.get("embed_dim") or self.dimension
        if length != self.dimension:
            raise LabelSetError(
                f"label set {self.folder or '(in memory)'} has embeddings of {self.dimension} numbers, but model {model.name!r} "
                f"has features of {length}; build it again with: "
                f"{command('labels build', 'TABLE', model=model.name, output='FOLDER')}"
            )

    def taxon(self, row: int) -> Taxon:
        """Return the taxon of one row."""
        *lineage, common_name, source_id = (self._name(column, row) for column in COLUMNS[1:])
        return Taxon.of(lineage, common_name, source_id)

    def plain_rows(self) -> list[int]:
        """Return the rows of plain labels, which have no ranks."""
        if self.is_custom:
            return []
        alone_N = self.named("species") & ~np.any([self.named(rank.value) for rank in RANKS[:-1]], axis=0)
        return [row for row in np.flatnonzero(alone_N).tolist() if self.taxon(row).is_plain]

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
        taxon = self.taxon(row)
        if taxon.is_plain and level == Rank.SPECIES:  # words of the user's own, which have no rank
            return Taxon(common_name=taxon.common_name), LABEL
        taxon = taxon.truncated(Rank(level))
        return taxon, str(taxon.rank or LABEL)

    @cached_property
    def dictionaries(self) -> dict[str, Any]:
        """The distinct names of each column, as a pyarrow array; fetching one costs more than using it."""
        return {name: self.table.column(name).chunk(0).dictionary for name in COLUMNS}

    @cached_property
    def lowered(self) -> dict[str, Any]:
        """The distinct names in lower case, by column: those that were searched."""
        return {}

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
    row_scales: RowScales | None = None,
) -> LabelSet:
    """Return a label set without a folder, with its rows in taxonomic order (custom labels: by group).

    Args:
        taxa: N taxa; a custom label is a taxon that has only a common name.
        embeddings_ND: N×D, L2-normalised.
        encoder: identity of the model that the embeddings belong to.
        blocks: scales of the rows; one block, since the rows are sorted.
        groups: group of each custom label.
        custom: the labels are the user's own words.
        row_scales: factor and bias of each row of a probe.
    """
    table = table_of(taxa, groups)
    order = np.asarray(taxonomic_order(table))
    table = encoded(table.take(order))
    rows = np.ascontiguousarray(embeddings_ND[order], dtype=np.float16)
    digest = hashlib.sha256(rows.tobytes() + json.dumps(table.to_pydict(), sort_keys=True).encode()).hexdigest()
    manifest = {
        "format_version": FORMAT_VERSION, "count": len(rows), "dimension": int(rows.shape[1]), "encoder": encoder,
        "blocks": [asdict(block) for block in blocks], "masked": [], "custom": custom, "id": settings_id({"contents": digest}),
    }  # fmt: skip
    if row_scales is not None:
        probe = {"format_version": PROBE_VERSION, "rows": asdict(ordered(row_scales, order))}
        manifest |= {**probe, "id": settings_id({"contents": digest, **probe})}
    return LabelSet(table, rows, manifest)


def custom_labels(labels: Sequence[str], encoder: Any, groups: Sequence[str] | None = None) -> LabelSet:
    """Return a label set of the user's own words, which the encoder's text tower embeds as ``a photo of {label}.``

    Raises:
        UsageError: without labels, if a label is empty or duplicated, or the number of groups differs.
        NoTextTower: if the encoder is image-only.
        ModelError: if a feature of its text tower cannot be used.
    """
    words = [label.strip() for label in labels]
    if not words or not all(words) or len(set(words)) != len(words):
        raise UsageError("custom labels: give at least one, without empty or duplicate labels")
    if groups is not None and len(groups) != len(words):
        raise UsageError(
            f"custom labels: {len(groups)} groups for {len(words)} labels; give one group per label, empty for none"
        )
    rows_ND = encoder.encode_texts([f"a photo of {word}." for word in words])
    for row, fault in faults_of_features(rows_ND).items():
        raise ModelError(
            f"the label {words[row]!r} cannot be used: {fault}; the weights of the text tower may be damaged"
        )
    return in_memory(
        [Taxon(common_name=word) for word in words],
        rows_ND,
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


def one_label_each(taxa: Iterable[Taxon]) -> tuple[list[Taxon], NDArray[np.int64], JoinedLineages]:
    """Return one taxon per label, the label's number for each row, and the lineages that were joined.

    Lineages of one taxon that differ only in missing ranks are one label, by the rule of
    :func:`bioclip_core.lineages.join_lineages`; it has the first common name of its rows.
    """
    distinct, lineage_of_N = distinct_taxa(taxa)
    whole, joined = join_taxa(distinct)
    labels, label_of = distinct_taxa(whole)
    return labels, label_of[lineage_of_N], joined


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


def ordered(row_scales: RowScales, order: NDArray[np.int64]) -> RowScales:
    """Return the factors and biases of rows in another order."""
    factor, bias = (np.array(values)[order].tolist() for values in (row_scales.factor, row_scales.bias))
    return RowScales(tuple(factor), tuple(bias))


def encoded(table: Any) -> Any:
    """Return the table with every column dictionary-encoded in one chunk; each dictionary has the empty name."""
    import pyarrow as pa

    columns = {}
    for name in COLUMNS:
        array = _with_one_dictionary(table.column(name)).combine_chunks().dictionary_encode()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        if array.dictionary.index("").as_py() < 0:
            array = pa.DictionaryArray.from_arrays(array.indices, pa.concat_arrays([array.dictionary, pa.array([""])]))
        columns[name] = array
    return pa.table(columns)


def _with_one_dictionary(column: Any) -> Any:
    """Return a column whose chunks share a dictionary. In our own files they do already, and comparing costs less than making one."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type) or column.num_chunks < 2:
        return column
    first = column.chunk(0).dictionary
    if not all(chunk.dictionary.equals(first) for chunk in column.chunks):
        return column.unify_dictionaries()
    indices = pa.concat_arrays([chunk.indices for chunk in column.chunks])
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, first)])


def _blocks(manifest: dict[str, Any]) -> tuple[Block, ...]:
    """Return a manifest's blocks, which it holds in full or (joined sets) as place and number of their kind."""
    scales = [
        {**scale, "feature_mean": None if scale.get("feature_mean") is None else tuple(scale["feature_mean"])}
        for scale in manifest.get("kinds", manifest["blocks"])
    ]
    if "kinds" not in manifest:
        return tuple(Block(**scale) for scale in scales)
    return tuple(Block(start, stop, **scales[kind]) for start, stop, kind in manifest["blocks"])
