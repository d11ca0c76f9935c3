"""Zero-shot classification of an evaluation set: words for its classes, and the place of the right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import templates
from bioclip_core.encoder import Encoder
from bioclip_core.progress import silent
from bioclip_core.taxonomy import Taxon
from bioclip_training.evaluation.features import StageProgress

TEXT_TYPES = ("class", "common", "scientific", "taxonomic", "scientific_common", "taxonomic_common")
"""Words that stand for a class in a prompt: the set's own, or made of its taxon."""
_PASS_BYTES = 64 << 20
_CLASSES_AT_ONCE = 128


def published_words(taxon: Taxon, text_type: str) -> str:
    """Return a class's words exactly as the published evaluation makes them, holes included.

    A rank without a name leaves a blank of its own between its neighbours, which the captions of the training never have; without a
    common name the scientific or taxonomic name stands alone.
    """
    scientific = " ".join(filter(None, (taxon.genus, taxon.species)))
    ranks = taxon.lineage if taxon.kingdom else (taxon.genus, taxon.species)
    name = scientific if text_type.startswith("scientific") else " ".join(ranks)
    if text_type == "common":
        return taxon.common_name
    joined = text_type.endswith("_common") and taxon.common_name
    return f"{name} with common name {taxon.common_name}" if joined else name


def corrected_words(taxon: Taxon, text_type: str) -> str:
    """Return a class's words as the captions of the training have them: missing ranks are skipped, no name is repeated."""
    name = taxon.scientific_name if text_type.startswith("scientific") else taxon.taxonomic_name
    if text_type == "common":
        return taxon.common_name or taxon.scientific_name
    repeated = taxon.common_name.lower() in ("", taxon.scientific_name.lower(), taxon.taxonomic_name.lower())
    return f"{name} with common name {taxon.common_name}" if text_type.endswith("_common") and not repeated else name


def class_features(
    encoder: Encoder, words: Sequence[str], *, all_templates: bool = True, progress: StageProgress = silent
) -> NDArray[np.float32]:
    """Return C×D features of classes: the normalised mean of their normalised prompts (Radford et al. 2021).

    Args:
        encoder: a model with a text tower.
        words: the words of each class.
        all_templates: the mean over 81 prompts; else ``a photo of WORDS.`` alone.
        progress: called with the stage, classes done and classes in all.

    Raises:
        NoTextTower: if the model is image-only.
    """
    prompts = templates() if all_templates else templates()[:1]
    found = np.empty((len(words), encoder.dimension), dtype=np.float32)
    progress("Prompts", 0, len(words))
    for start in range(0, len(words), _CLASSES_AT_ONCE):
        part = words[start : start + _CLASSES_AT_ONCE]
        texts = [prompt.format(word) for word in part for prompt in prompts]
        mean_CD = encoder.encode_texts(texts).reshape(len(part), len(prompts), -1).mean(axis=1)
        found[start : start + len(part)] = mean_CD / np.maximum(np.linalg.norm(mean_CD, axis=1, keepdims=True), 1e-12)
        progress("Prompts", start + len(part), len(words))
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """Position of the right class of N images among all classes by similarity."""

    above_N: NDArray[np.int64]
    """Classes that are more similar than the right one."""
    equal_N: NDArray[np.int64]
    """Classes that are as similar, the right one included: those with the same words."""
    before_N: NDArray[np.int64]
    """Those of them that are listed before the right one."""
    classes: int

    def hits(self, top: int) -> NDArray[np.float64]:
        """Return the chance of each image that the right class is among the ``top`` best, equal ones in random order."""
        return np.clip((top - self.above_N) / self.equal_N, 0.0, 1.0)

    def listed_hits(self, top: int) -> NDArray[np.float64]:
        """Return 1 for an image whose right class is among the ``top`` best, equal ones in the order of the classes."""
        return (self.above_N + self.before_N < top).astype(np.float64)


def places(features_ND: NDArray[np.float16], classes_CD: NDArray[np.float32], class_N: NDArray[np.int64]) -> Places:
    """Compare N images with C classes by matrix products, of which no part is larger than 64 MB.

    Neither scale nor bias of the logits matters to the order of classes, so that models trained with a softmax and with a sigmoid
    (SigLIP) are compared in the same way.
    """
    unique_UD, number_C = _distinct_rows(classes_CD)
    step = max(1, _PASS_BYTES // (4 * max(1, len(classes_CD))))
    above, equal, before = (np.empty(len(class_N), np.int64) for _ in range(3))
    for start in range(0, len(class_N), step):
        part = slice(start, start + step)
        sums_BC = (features_ND[part].astype(np.float32) @ unique_UD.T)[:, number_C]
        own_B1 = class_N[part, None]
        right_B1 = np.take_along_axis(sums_BC, own_B1, axis=1)
        is_equal_BC = sums_BC == right_B1
        above[part], equal[part] = (sums_BC > right_B1).sum(axis=1), is_equal_BC.sum(axis=1)
        before[part] = (is_equal_BC & (np.arange(len(classes_CD)) < own_B1)).sum(axis=1)
    return Places(above, equal, before, len(classes_CD))


def _distinct_rows(rows_CD: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the rows that differ, in order of appearance, and the number of each row: equal words have exactly equal similarities."""
    numbers: dict[bytes, int] = {}
    number_C = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows_CD], dtype=np.int64)
    _, first = np.unique(number_C, return_index=True)
    return rows_CD[first], number_C
