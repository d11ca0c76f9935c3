"""What is asked: the rows of a catalog's parts, their taxa, groups and sources, and the labels that they are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption
from bioclip_core.errors import NoTextTower, UsageError
from bioclip_core.labels.label_set import GROUP, LABEL, LabelSet, custom_labels
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.scores import numbered
from bioclip_training.evaluation.truth import LevelTruth, padded, truths_of

if TYPE_CHECKING:
    from bioclip_core.encoder import Encoder
    from bioclip_core.models import FoundModel


@dataclass(frozen=True, slots=True)
class Question:
    """Labels, and which of them are right for each row of the catalog."""

    labels: LabelSet
    described: str
    """Which labels these are, as a sentence for the report."""
    truths: Mapping[str, LevelTruth]
    truth_of_row: NDArray[np.int64]
    """The number of each row's truth in ``truths``; -1 for a row without a name."""
    names: tuple[str, ...] = field(repr=False)
    """Of the truths."""


def query_rows(catalog: Catalog, splits: Sequence[str]) -> NDArray[np.int64]:
    """The rows of several parts, ascending, each once.

    Raises:
        UsageError: if a part is empty, with the parts that there are.
    """
    found = []
    for split in splits:
        rows = catalog.rows_of(split)
        if not len(rows):
            raise UsageError(f"split {split!r}: {catalog.file} has no rows of it; it has {described_parts(catalog)}")
        found.append(rows)
    return np.unique(np.concatenate(found))


def described_parts(catalog: Catalog) -> str:
    """The parts of a catalog with their sizes: "train 680 (of which dev 68), val 170"."""
    counts = Counter(split or "(none)" for split in catalog.column("split"))
    said = {split: f"{split} {count}" for split, count in sorted(counts.items())}
    if "train" in said and "dev" not in said:
        said["train"] += f" (of which dev {len(catalog.rows_of('dev'))})"
    return ", ".join(said.values()) or "no rows"


def groups_of(catalog: Catalog) -> NDArray[np.int64]:
    """The number of each row's group; a row without one is a group of its own."""
    return numbered([group or ("", row) for row, group in enumerate(catalog.column("group"))])


def seen_taxa(catalog: Catalog) -> NDArray[np.bool_]:
    """Which of the catalog's taxa have rows in its ``train``."""
    seen = np.zeros(len(catalog.taxa), dtype=bool)
    seen[catalog.taxon_of_N[np.array([split == "train" for split in catalog.column("split")], dtype=bool)]] = True
    return seen


def ask(
    config: EvaluationConfig,
    catalog: Catalog,
    found: FoundModel,
    encoder: Encoder,
    folder: Path,
    progress: StageProgress,
) -> Question:
    """Open the labels that were asked for, or make them of the catalog's taxa in ``folder``, and find the truths in them.

    Raises:
        LabelSetError: if the label set is missing, damaged or another model's.
        NoTextTower: if labels must be made and the model is image-only.
        UsageError: if no word is in the column of truths.
    """
    if config.words:
        return _words(config, catalog, encoder)
    labels, described = _taxa(config, catalog, found, encoder, folder, progress)
    taxa = catalog.taxa
    truth_of_row = np.array([-1 if taxon.rank is None else number for number, taxon in enumerate(taxa)])[
        catalog.taxon_of_N
    ]
    names = tuple(taxon.scientific_name for taxon in taxa)
    return Question(labels, described, truths_of(taxa, labels), truth_of_row, names)


def _taxa(
    config: EvaluationConfig,
    catalog: Catalog,
    found: FoundModel,
    encoder: Encoder,
    folder: Path,
    progress: StageProgress,
) -> tuple[LabelSet, str]:
    if config.labels is not None:
        labels = LabelSet.open(config.labels)
        labels.check_encoder(found.identity())
        return labels, f"the label set {config.labels}, {len(labels)} labels"
    from bioclip_core.labels.building import build_label_set

    try:
        built = build_label_set(
            catalog.taxa,
            encoder,
            folder,
            caption=Caption(config.caption),
            progress=lambda *done: progress("Labels", *done),
        )
    except NoTextTower as error:
        raise NoTextTower(
            f"{config.model} makes no labels of names ({error}); give --labels with a label set made of example images: "
            f"bioclip-plugin prototypes build --data {config.data} --model {config.model} --output FOLDER"
        ) from error
    return (
        built.labels,
        f"every taxon of the catalog, all splits: {len(built.labels)} labels ({config.caption} captions)",
    )


def _words(config: EvaluationConfig, catalog: Catalog, encoder: Encoder) -> Question:
    """Custom labels: an image's truth is the word in a column of the catalog, compared without case."""
    labels = custom_labels(config.words, encoder, config.groups or None)
    cells = [" ".join((cell or "").split()).lower() for cell in catalog.column(config.truth_column)]
    distinct = sorted({cell for cell in cells if cell})
    number = {cell: place for place, cell in enumerate(distinct)}
    row_of = {labels.taxon(row).common_name.lower(): row for row in range(len(labels))}
    rows = [row_of.get(cell, -1) for cell in distinct]
    if not any(row >= 0 for row in rows):
        raise UsageError(
            f"none of {len(labels)} labels stands in the column {config.truth_column} of {catalog.file}, which has "
            f"{', '.join(distinct[:5]) or 'nothing'}; give --truth-column another one, or the labels' words as they stand there"
        )
    groups = labels.spans(GROUP)
    group_of = [int(np.searchsorted(groups.starts_S, row, side="right")) - 1 for row in rows]
    grouped = np.array([row < 0 or bool(groups.named_S[group]) for row, group in zip(rows, group_of, strict=True)])
    truths = {
        GROUP: LevelTruth(
            GROUP, padded([[group] if row >= 0 else [] for row, group in zip(rows, group_of, strict=True)]), grouped
        ),
        LABEL: LevelTruth(LABEL, padded([[row] if row >= 0 else [] for row in rows]), np.ones(len(rows), dtype=bool)),
    }
    if not config.groups:
        truths[GROUP] = LevelTruth(GROUP, truths[GROUP].spans_CK, np.zeros(len(rows), dtype=bool))
    truth_of_row = np.array([number.get(cell, -1) for cell in cells], dtype=np.int64)
    described = f"{len(labels)} custom labels against the catalog's column {config.truth_column}"
    return Question(labels, described, truths, truth_of_row, tuple(distinct))
