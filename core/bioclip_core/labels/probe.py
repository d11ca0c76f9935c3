"""Probes: label sets of a linear classifier on features, such as a logistic regression, with one row of weights per taxon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import SCALES_ALLOWED, Block, RowScales
from bioclip_core.labels.prototypes import unit_rows
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear classifier of C taxa: logit = weights · u + bias, where u is the feature minus ``mean_D``, L2-normalised."""

    taxa: tuple[Taxon, ...]
    """Distinct lineages, in any order."""
    weights_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    mean_D: NDArray[np.float32]
    """Mean of the features that the probe learnt from."""

    def in_memory(self, encoder_identity: dict[str, str]) -> LabelSet:
        """Return the label set without a folder; it answers as the stored one.

        Raises:
            LabelSetError: if the weights cannot be used.
        """
        rows_CD, block, scales = self._parts()
        return in_memory(self.taxa, rows_CD, encoder_identity, [block], row_scales=scales)

    def write(self, folder: Path, encoder_identity: dict[str, str], notes: Mapping[str, Any]) -> LabelSet:
        """Write the label set to a folder.

        Args:
            folder: folder to write; one that holds another label set is refused.
            encoder_identity: identity of the encoder that made the features.
            notes: further entries of the manifest.

        Raises:
            LabelSetError: if the weights cannot be used, or the folder cannot be written.
        """
        rows_CD, block, scales = self._parts()
        return write_label_set(
            folder, self.taxa, rows_CD, encoder_identity, block, {"captions": None, **notes}, row_scales=scales
        )

    def _parts(self) -> tuple[NDArray[np.float32], Block, RowScales]:
        """Return the weights as rows of length 1, as every label set has them, and the lengths and biases beside them."""
        if not (np.isfinite(self.weights_CD).all() and np.isfinite(self.bias_C).all()):
            raise LabelSetError("probe: its weights are not numbers; build it with other examples")
        norms_C = np.linalg.norm(self.weights_CD.astype(np.float64), axis=1)
        low, high = SCALES_ALLOWED
        if not low <= (longest := float(norms_C.max())) <= high:
            raise LabelSetError(
                f"probe: its longest weights have the length {longest:.3g}, and {low:g} to {high:g} is needed; the examples are all "
                "alike, or cannot be told from each other: look at them with `catalog show`"
            )
        bias_C = self.bias_C.astype(np.float64) - self.bias_C.astype(np.float64).mean()  # only differences matter
        block = Block(0, len(self.taxa), "probe", longest, feature_mean=tuple(float(value) for value in self.mean_D))
        return (
            unit_rows(self.weights_CD),
            block,
            RowScales(tuple(float(value) for value in norms_C / longest), tuple(float(value) for value in bias_C)),
        )
