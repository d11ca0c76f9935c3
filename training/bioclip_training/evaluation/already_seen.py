"""Images of an evaluation that the model or its label set was made from: refused, left out, or measured and then marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.splits import is_training
from bioclip_training.catalog.trained_models import origin_of
from bioclip_training.catalog.trained_on import Seen, trained_on
from bioclip_training.evaluation.config import EvaluationConfig


@dataclass(frozen=True, slots=True)
class AlreadySeen:
    """Images to measure that the training data of a model have, and what became of them."""

    images: int
    """Images that the model, or the one that it is compared with, was trained on."""
    of_groups: int
    """Other images of groups with the name of one that was trained on."""
    decision: str
    first: str
    of_train: int = 0
    """Images of the catalog's own ``train`` that were asked for and that a model was trained on; they are measured."""
    learner: str = "the model"
    """``the label set`` if only a label set of example images was made from them."""

    @property
    def lines(self) -> list[str]:
        """Remarks on them, for users."""
        lines = []
        if self.images:
            done = (
                "left out"
                if self.decision == "leave-out"
                else "measured all the same, so that the figures are too good"
            )
            lines.append(f"images in the training data of {self.learner}: {self.images} (first: {self.first}), {done}")
        if self.of_train:
            lines.append(
                f"images of train that {self.learner} was trained on: {self.of_train}, measured since they were asked for; their "
                "accuracy is memory and says nothing about new images"
            )
        if self.of_groups:
            lines.append(
                f"images of groups with the name of one that {self.learner} was trained on, so that they may look easier: {self.of_groups}"
            )
        return lines

    @property
    def is_measured(self) -> bool:
        """True if images that a model was trained on are part of the figures."""
        return self.of_train > 0 or (self.images > 0 and self.decision != "leave-out")

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def rows_to_measure(
    config: EvaluationConfig, catalog: Catalog, rows: NDArray[np.int64], models: Sequence[FoundModel]
) -> tuple[NDArray[np.int64], AlreadySeen]:
    """Return the rows to measure, and how many of them the models, or label sets of example images, were made from.

    Rows of the catalog's own ``train`` that were asked for are measured, and counted if a model was trained on them: by its list
    of training images, or since it was trained on this very catalog.

    Raises:
        DataError: if a model was trained on some, and no option decides.
    """
    split_of_N, words = catalog.numbered("split")
    trained_N = np.array([is_training(word) for word in words], dtype=bool)[split_of_N[rows]]
    # Their dev part is not trained on, and is a part of its own.
    is_dev_N = np.isin(rows, catalog.rows_of("dev"))
    asked_N = ~trained_N | is_dev_N
    labels = [Path(folder) for folder in (config.labels, config.compare_labels) if folder]
    of_models = Seen.together(filter(None, (trained_on(found.folder) for found in models)))
    seen = Seen.together([of_models, *filter(None, map(trained_on, labels))])
    seen_N = seen.has_regions(catalog, rows) & asked_N
    of_group_N = seen.has_groups(catalog, rows) & asked_N & ~seen_N
    first = catalog.key(int(rows[seen_N][0])) if seen_N.any() else ""
    trained = (origin_of(found.folder).get("trained", {}) for found in models)
    is_own = any(one.get("data_sha256") == catalog.identity for one in trained)
    of_train_N = ~asked_N & (seen.has_regions(catalog, rows) | is_own)
    of_models_N = of_models.has_regions(catalog, rows) | of_models.has_groups(catalog, rows) | (is_own & ~asked_N)
    is_labels = bool(labels) and not of_models_N.any()
    found = AlreadySeen(
        int(seen_N.sum()), int(of_group_N.sum()), config.trained_images, first, int(of_train_N.sum()),
        "the label set" if is_labels else "the model",
    )  # fmt: skip
    if not found.images or config.trained_images == "keep":
        return rows, found
    named = " and ".join(map(str, labels)) if is_labels else " and ".join(model.name for model in models)
    of = f"{found.images} of its {number_of(len(rows), 'image')}"
    said = f"--data {config.data}, {', '.join(config.splits)}: {of} in the training data of {named}"
    if config.trained_images == "refuse":
        raise DataError(
            f"{said} (first: {first}), so their accuracy would be memory. Choose with --trained-images leave-out (they are not "
            "measured) or keep (they are), or give a catalog of other images"
        )
    if seen_N.all():
        raise DataError(f"{said}: nothing is left to measure; give a catalog of other images")
    return rows[~seen_N], found
