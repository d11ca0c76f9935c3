"""Images of an evaluation set as its files list them: classes, groups, attributes and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.taxonomy import Taxon
from bioclip_training.evaluation.scores import numbered


class MissingSetError(DataError):
    """An evaluation set that is not in the folder, or not whole."""


@dataclass(frozen=True, slots=True)
class BinaryTask:
    """One of NeWT's tasks: rows of images with 0 or 1, some for fitting and the others for testing."""

    name: str
    cluster: str
    rows_T: NDArray[np.int64]
    """Rows of :class:`SetImages`."""
    labels_T: NDArray[np.int64]
    is_train_T: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SetImages:
    """N images of an evaluation set, in the order of its files."""

    root: Path
    uris: tuple[str, ...]
    """Names of the images, relative to ``root``."""
    class_N: NDArray[np.int64]
    """Number of each image's class in ``classes``."""
    classes: tuple[str, ...]
    """The word of each class as the set writes it, numbered in the order of first appearance."""
    taxa: tuple[Taxon, ...] = ()
    """The taxon of each class; empty for a set without taxa."""
    groups: tuple[str, ...] = ()
    """Key of what each image belongs to, such as a camera's sequence; empty: every image by itself."""
    grouped_by: str = "image"
    """What a group is, for readers."""
    splits: tuple[str, ...] = ()
    """Published part of each image; empty for a set without parts."""
    attributes: tuple[str, ...] = ()
    target_NA: NDArray[np.int8] = field(default_factory=lambda: np.empty((0, 0), dtype=np.int8))
    """1 for an attribute that the image has, 0 for one that it lacks; empty for sets without attributes."""
    tasks: tuple[BinaryTask, ...] = ()

    def __len__(self) -> int:
        return len(self.uris)

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a published part, ascending."""
        return np.flatnonzero(np.array(self.splits, dtype=object) == split)

    def group_numbers(self, content_of: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each image's group; images with equal bytes, and all that these groups hold, are one group.

        Args:
            content_of: sha256 of each image's bytes; empty for one that cannot be read.
        """
        keys = self.groups or tuple(f"row {row}" for row in range(len(self)))
        parent: dict[str, str] = {}

        def top(name: str) -> str:
            while parent.setdefault(name, name) != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        for key, content in zip(keys, content_of, strict=True):
            if content:
                parent[top(f"group {key}")] = top(f"content {content}")
        return numbered([top(f"group {key}") for key in keys])


def in_order_of_appearance(words: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the distinct words, the first one first, and the number of each given one."""
    return tuple(dict.fromkeys(words)), numbered(words)
