"""Answers of a trained model to the tests of an ablation, and the file that keeps them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption, caption_of, captions_for_labels
from bioclip_core.encoder import Encoder
from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.whole import replacing_file
from bioclip_core.nouns import number_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.features import FeatureBook, StageProgress
from bioclip_training.evaluation.questions import groups_of


class Test:
    """N images of a catalog, and its T taxa as labels."""

    __test__ = False

    def __init__(self, name: str, catalog: Catalog, split: str) -> None:
        """Find the images.

        Raises:
            DataError: if the part is empty or none of its rows has a name.
        """
        self.name, self.catalog, self.split = name, catalog, split
        rows = catalog.rows_of(split)
        if not len(rows):
            raise DataError(
                f"tests.{name}: {catalog.file} has no rows of the split {split!r}; it has {catalog.parts()}"
            )
        named_T = np.array([taxon.rank is not None for taxon in catalog.taxa], dtype=bool)
        self.rows_N = rows[named_T[catalog.taxon_of_N[rows]]]
        if not len(self.rows_N):
            raise DataError(f"tests.{name}: none of {number_of(len(rows), 'row')} of the split {split!r} has a name")
        self.unnamed = len(rows) - len(self.rows_N)
        self.left_out_N: NDArray[np.bool_] = np.zeros(len(self.rows_N), dtype=bool)
        """Mask of the images that are asked about and not counted, since a model is trained on them."""

    @cached_property
    def truth_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Place of each image's taxon in the catalog's taxa."""
        return np.asarray(self.catalog.taxon_of_N[self.rows_N])

    @cached_property
    def group_N(self) -> NDArray[np.int64]:  # noqa: N802
        return np.asarray(groups_of(self.catalog)[self.rows_N])

    def identity(self) -> dict[str, str]:
        """Return what decides its images and labels."""
        return {"catalog": self.catalog.identity, "split": self.split}

    def without(self, caption: Caption) -> int:
        """Return the number of labels without this caption, which have their taxonomic one instead."""
        return sum(taxon.rank is not None and caption_of(taxon, caption) is None for taxon in self.catalog.taxa)


@dataclass(frozen=True, slots=True)
class Answers:
    """The nearest label of each image, by test and caption; -1 for an image that cannot be read."""

    by_test: Mapping[tuple[str, str], NDArray[np.int64]]

    def write(self, file: Path) -> None:
        """Write the file whole or not at all."""
        with replacing_file(file) as draft, draft.open("wb") as opened:
            named: dict[str, Any] = {f"{test}\n{caption}": found for (test, caption), found in self.by_test.items()}
            np.savez_compressed(opened, **named)

    @classmethod
    def read(cls, file: Path) -> Answers:
        """Read the file.

        Raises:
            DataError: if it is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                return cls({(name.partition("\n")[0], name.partition("\n")[2]): stored[name] for name in stored.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{file}: the answers cannot be read ({error})") from error


def answers_of(encoder: Encoder, tests: Sequence[Test], captions: Sequence[str], progress: StageProgress) -> Answers:
    """Ask a model about the images of every test with the labels of every caption.

    An image's answer is the label with the nearest text feature; equal ones in the order of the tree.

    Raises:
        SourceError: if none of a test's images can be read.
    """
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    for test in tests:
        book = FeatureBook(test.catalog, encoder)
        book.encode(test.rows_N, f"Test {test.name}", progress)
        usable_N = book.usable(test.rows_N)
        if not usable_N.any():
            raise SourceError(f"tests.{test.name}: none of its images could be read")
        features_UD = book.of(test.rows_N[usable_N]).astype(np.float32)
        labels = np.array([place for place, taxon in enumerate(test.catalog.taxa) if taxon.rank is not None])
        for caption in captions:
            texts_LD = _texts(encoder, test.catalog, labels, Caption(caption))
            nearest_N = np.full(len(test.rows_N), -1, dtype=np.int64)
            nearest_N[usable_N] = labels[_nearest(features_UD, texts_LD)]
            found[test.name, caption] = nearest_N
    return Answers(found)


def _texts(encoder: Encoder, catalog: Catalog, labels: NDArray[np.int64], caption: Caption) -> NDArray[np.float32]:
    """Return the L2-normalised text feature of each label: of one caption, or the mean of the 81 templates."""
    texts = [captions_for_labels(catalog.taxa[place], caption) for place in labels.tolist()]
    each_LED = np.asarray(encoder.encode_texts([text for own in texts for text in own]), dtype=np.float32)
    mean_LD = each_LED.reshape(len(texts), len(texts[0]), -1).mean(axis=1)
    return np.asarray(mean_LD / np.linalg.norm(mean_LD, axis=1, keepdims=True))


def _nearest(features_ND: NDArray[np.float32], texts_LD: NDArray[np.float32]) -> NDArray[np.int64]:
    rows = max(1, 50_000_000 // len(texts_LD))  # numbers of a product at once
    parts = [
        (features_ND[start : start + rows] @ texts_LD.T).argmax(axis=1) for start in range(0, len(features_ND), rows)
    ]
    return np.concatenate(parts)
