"""Questions of an evaluation: the rows of a catalog's parts, their groups, and the labels and truths to compare answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption
from bioclip_core.encoder import Encoder
from bioclip_core.errors import DataError, NoTextTower
from bioclip_core.labels.building import build_label_set
from bioclip_core.labels.label_set import GROUP, LABEL, LabelSet, custom_labels
from bioclip_core.models import FoundModel
from bioclip_core.next_commands import command, free_name
from bioclip_core.nouns import number_of
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.scores import numbered
from bioclip_training.evaluation.truth import LevelTruth, padded, truths_of


@dataclass(frozen=True, slots=True)
class Question:
    """Labels, and the right ones for each row of the catalog."""

    labels: LabelSet
    described: str
    """Description of the labels for the report."""
    truths: Mapping[str, LevelTruth]
    truth_of_row: NDArray[np.int64]
    """Number of each row's truth in ``truths``; -1 for a row without a name."""
    names: tuple[str, ...] = field(repr=False)
    """Names of the truths."""


def query_rows(catalog: Catalog, splits: Sequence[str]) -> NDArray[np.int64]:
    """Return the rows of several parts, ascending, each once.

    Raises:
        DataError: if a part is empty, with the parts of the catalog.
    """
    found = {split: catalog.rows_of(split) for split in splits}
    for split, rows in found.items():
        if not len(rows):
            raise DataError(
                f"split {split!r}: {catalog.name} has no rows of it; it has {catalog.parts()}, and all {len(catalog)}"
            )
    return np.unique(np.concatenate(list(found.values())))


def groups_of(catalog: Catalog) -> NDArray[np.int64]:
    """Return the number of each row's group; a row without one is a group of its own."""
    return numbered([group or ("", row) for row, group in enumerate(catalog.column("group"))])


def seen_taxa(catalog: Catalog) -> NDArray[np.bool_]:
    """Return a mask of the catalog's taxa with rows in its ``train``."""
    is_train_N = np.array([split == "train" for split in catalog.column("split")], dtype=bool)
    return np.isin(np.arange(len(catalog.taxa)), catalog.taxon_of_N[is_train_N])


def ask(
    config: EvaluationConfig,
    catalog: Catalog,
    found: FoundModel,
    encoder: Encoder,
    folder: Path,
    progress: StageProgress,
    wanted: Sequence[Taxon] | None = None,
) -> Question:
    """Open the labels that were asked for, or make labels of the wanted taxa in ``folder``, and find the truths in them.

    The wanted taxa are by default those of the catalog.

    Raises:
        LabelSetError: if the label set is missing, damaged or another model's.
        NoTextTower: if labels must be made and the model is image-only.
        DataError: if no word is in the column of truths.
    """
    if config.words:
        return _custom(config, catalog, encoder)
    taxa = catalog.taxa
    if config.labels is not None:
        labels = LabelSet.open(config.labels)
        labels.check_encoder(found.identity())
        described = f"the label set {config.labels}, {number_of(len(labels), 'label')}"
    elif wanted is not None:
        labels = _built(config, wanted, encoder, folder, progress)
        described = f"text labels of the same taxa: {number_of(len(labels), 'label')} ({config.caption} captions)"
    else:
        labels = _built(config, taxa, encoder, folder, progress)
        described = f"text labels of every taxon of the catalog, all splits: {number_of(len(labels), 'label')} ({config.caption} captions)"
    number_T = np.array([-1 if taxon.rank is None else number for number, taxon in enumerate(taxa)])
    return Question(
        labels, described, truths_of(taxa, labels), number_T[catalog.taxon_of_N], tuple(taxon.scientific_name for taxon in taxa)
    )  # fmt: skip


def _built(
    config: EvaluationConfig, taxa: Sequence[Taxon], encoder: Encoder, folder: Path, progress: StageProgress
) -> LabelSet:
    report = partial(progress, "Labels")
    try:
        return build_label_set(taxa, encoder, folder, caption=Caption(config.caption), progress=report).labels
    except NoTextTower as error:
        output = free_name("prototypes")
        raise NoTextTower(
            f"{config.model} cannot make labels of names ({error}); give --labels with a label set made of example images: "
            f"{command('prototypes build', data=config.data, model=config.model, output=output, replace_prefix=config.replace_prefix)}"
        ) from error


def _custom(config: EvaluationConfig, catalog: Catalog, encoder: Encoder) -> Question:
    """Ask with custom labels: an image's truth is the word in a column of the catalog, compared without case."""
    labels = custom_labels(config.words, encoder, config.groups or None)
    cells = [" ".join((cell or "").split()).lower() for cell in catalog.column(config.truth_column)]
    distinct = sorted({cell for cell in cells if cell})
    row_of = {labels.taxon(row).common_name.lower(): row for row in range(len(labels))}
    rows = [row_of.get(cell, -1) for cell in distinct]
    if max(rows, default=-1) < 0:
        raise DataError(
            f"none of {number_of(len(labels), 'label')} is in the column {config.truth_column} of {catalog.file}, which has "
            f"{', '.join(distinct[:5]) or 'no words'}; give --truth-column another one, or the labels' words as they are there"
        )
    groups = labels.spans(GROUP)
    group_of = [int(np.searchsorted(groups.starts_S, row, side="right")) - 1 for row in rows]
    pairs = list(zip(rows, group_of, strict=True))
    grouped_C = np.array([bool(config.groups) and (row < 0 or bool(groups.named_S[group])) for row, group in pairs])
    group_spans = padded([[group] if row >= 0 else [] for row, group in pairs])
    truths = {
        GROUP: LevelTruth(GROUP, group_spans, grouped_C),
        LABEL: LevelTruth(LABEL, np.array(rows)[:, None], np.ones(len(rows), dtype=bool)),
    }
    number = {cell: place for place, cell in enumerate(distinct)}
    truth_of_row = np.array([number.get(cell, -1) for cell in cells], dtype=np.int64)
    described = f"{number_of(len(labels), 'custom label')} against the catalog's column {config.truth_column}"
    return Question(labels, described, truths, truth_of_row, tuple(distinct))
