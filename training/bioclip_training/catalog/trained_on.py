"""Regions and groups of a catalog as numbers by content, and those that a model or label set was made from, kept in its folder."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_training.catalog.recorded import is_hash
from bioclip_training.catalog.rows import Catalog

TRAINED_ON = Path("training", "trained_on.npz")
"""Place of the list in the folder of a model, or of a label set made of example images."""
_PLACE = (("bboxX", 0.0), ("bboxY", 0.0), ("bboxWidth", 1.0), ("bboxHeight", 1.0))
"""Columns of a box, and the box of a whole image."""
_BOX_UNIT = 10_000
_MIX = np.uint64(0x9E3779B97F4A7C15)
_UNKNOWN = np.uint64(0)


@dataclass(frozen=True, slots=True)
class Seen:
    """Sorted numbers of regions and of groups, eight bytes each."""

    regions: NDArray[np.uint64]
    groups: NDArray[np.uint64]

    @classmethod
    def of(cls, catalog: Catalog, rows: NDArray[np.int64]) -> Seen:
        """Return the regions and groups of some rows; one without a recorded hash, or without a group, is not among them."""
        found = (np.unique(numbers[rows]) for numbers in (region_numbers(catalog), group_numbers(catalog)))
        regions, groups = (numbers[numbers != _UNKNOWN] for numbers in found)
        return cls(regions, groups)

    @classmethod
    def together(cls, parts: Iterable[Seen]) -> Seen:
        """Return everything that one of several has."""
        listed = [cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64)), *parts]
        return cls(
            np.unique(np.concatenate([part.regions for part in listed])),
            np.unique(np.concatenate([part.groups for part in listed])),
        )

    def has_regions(self, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the rows whose region is among these."""
        return np.isin(region_numbers(catalog)[rows], self.regions)

    def has_groups(self, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the rows whose group is among these, by its name."""
        return np.isin(group_numbers(catalog)[rows], self.groups)

    def learnt(self, catalog: Catalog, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], bool]:
        """Return a mask of the rows whose region or group is among these, and True if it is known that no other one is.

        It is not known of rows without a recorded hash.
        """
        learnt_N = self.has_regions(catalog, rows) | self.has_groups(catalog, rows)
        return learnt_N, not (region_numbers(catalog)[rows[~learnt_N]] == _UNKNOWN).any()

    def write(self, folder: Path) -> None:
        """Keep them in the folder of a model or label set."""
        file = folder / TRAINED_ON
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            np.savez(out, regions=self.regions, groups=self.groups)


def trained_on(folder: Path | None) -> Seen | None:
    """Return what the model or label set of a folder was made from; None if the folder does not say.

    Raises:
        DataError: if the file is damaged.
    """
    if folder is None or not (file := folder / TRAINED_ON).is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            return Seen(stored["regions"].astype(np.uint64), stored["groups"].astype(np.uint64))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file} is damaged: it lists what the model was trained on, so that no such image is measured; remove it to evaluate "
            "without this check"
        ) from error


def learnt_by(model: Path | None, catalog: Catalog, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], bool]:
    """Return a mask of the rows that the model of a folder learnt from, by its own list, as :meth:`Seen.learnt` does.

    Without a list the mask is empty, and nothing is known.
    """
    seen = trained_on(model)
    return (np.zeros(len(rows), dtype=bool), False) if seen is None else seen.learnt(catalog, rows)


def region_numbers(catalog: Catalog) -> NDArray[np.uint64]:
    """Return a number for the region of each row, by sha256, frame and box; 0 for a row without a recorded hash."""
    code_N, hashes = catalog.numbered("sha256")
    known = np.array([int(text[:16], 16) if is_hash(text) else 0 for text in hashes], dtype=np.uint64)
    numbers_N: NDArray[np.uint64] = known[code_N] if len(known) else np.zeros(len(catalog), dtype=np.uint64)
    is_known_N = numbers_N != _UNKNOWN
    values = [np.asarray(catalog.table.column("frame").to_numpy(), dtype=np.int64)]
    for name, whole in _PLACE:
        side_N = catalog.table.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
        values.append(np.round(np.where(np.isnan(side_N), whole, side_N) * _BOX_UNIT).astype(np.int64))
    for value_N in values:
        numbers_N = (numbers_N ^ value_N.astype(np.uint64)) * _MIX  # wraps around
        numbers_N ^= numbers_N >> np.uint64(29)
    return np.where(is_known_N, np.maximum(numbers_N, np.uint64(1)), _UNKNOWN)


def group_numbers(catalog: Catalog) -> NDArray[np.uint64]:
    """Return a number for the group of each row, by its name; 0 for a row without one."""
    code_N, names = catalog.numbered("group")
    known = np.array([max(1, _number(name)) if name else 0 for name in names], dtype=np.uint64)
    return known[code_N] if len(known) else np.zeros(len(catalog), dtype=np.uint64)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")
