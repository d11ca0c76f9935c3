"""Readers of sets beyond species: NeWT's tasks, traits of FishNet and AwA2, classes of Herbarium19 and PlantDoc."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import lines_of, sure_rows
from bioclip_core.tables.rows import TableRow
from bioclip_training.published.reading.folders import names_of_folders
from bioclip_training.suites.images import BinaryTask, MissingSetError, SetImages, in_order_of_appearance
from bioclip_training.suites.reading import NO_FILE, NO_IMAGES, NOT_THERE, count_unlisted, images_in, none_listed

TRAITS = (
    "FeedingPath",
    "Tropical",
    "Temperate",
    "Subtropical",
    "Boreal",
    "Polar",
    "freshwater",
    "saltwater",
    "brackish",
)
"""The nine traits of FishNet, in the order of the published code; feeding is 1 for pelagic and 0 for benthic."""
_FEEDING = {"pelagic": 1, "benthic": 0}
_LARGEST_SPLITS = 1 << 20


def read_newt(folder: Path, findings: Findings) -> SetImages:
    """Read NeWT: ``newt2021_labels.csv``, a row per image and task, and ``newt2021_images/ID.jpg``.

    Raises:
        MissingSetError: if no image is there.
        DataError: for a label that is not 0 or 1.
    """
    table = folder / "newt2021_labels.csv"
    _, rows = sure_rows(table, TableOptions())
    row_of: dict[str, int] = {}
    tasks: dict[str, _TaskRows] = {}
    missing = _Missing()
    seen: set[tuple[str, str]] = set()
    for row in rows:
        image, task, label, split = (_cell(row, name) for name in ("id", "task", "label", "split"))
        if label not in ("0", "1") or split not in ("train", "test"):
            raise DataError(
                f"{table}, row {row.number}: label {label!r} and split {split!r}; 0 or 1, and train or test are allowed"
            )
        if not image:
            findings.add(NO_FILE, f"{table.name}, row {row.number}")
            continue
        if (image, task) in seen:
            findings.add(
                "rows of an image and task are doubled; the first one counts", f"row {row.number}: {image}, {task}"
            )
            continue
        seen.add((image, task))
        listed = tasks.setdefault(task, _TaskRows(_cell(row, "task_cluster") or "none", [], [], []))
        uri = f"newt2021_images/{image}.jpg"
        if uri not in row_of and not is_file(folder / uri):
            missing.add(uri)
            continue
        listed.rows.append(row_of.setdefault(uri, len(row_of)))
        listed.labels.append(int(label))
        listed.is_train.append(split == "train")
    missing.report(findings, table, folder, found=bool(row_of))
    count_unlisted(folder, row_of, findings)
    for name, listed in tasks.items():
        if not listed.rows:
            findings.add("tasks have no image in the folder; they are left out", name)
    found = tuple(
        BinaryTask(name, listed.cluster, np.array(listed.rows), np.array(listed.labels), np.array(listed.is_train))
        for name, listed in tasks.items()
        if listed.rows
    )
    return SetImages(folder, tuple(row_of), np.zeros(len(row_of), np.int64), ("image",), tasks=found)


def _cell(row: TableRow, name: str) -> str:
    value = row.cells.get(name)
    return "" if value is None else str(value).strip()


@dataclass(frozen=True, slots=True)
class _TaskRows:
    cluster: str
    rows: list[int]
    labels: list[int]
    is_train: list[bool]


@dataclass(slots=True)
class _Missing:
    """Listed images that are not in the folder."""

    count: int = 0
    first: str = ""

    def add(self, uri: str) -> None:
        self.count, self.first = self.count + 1, self.first or uri

    def report(self, findings: Findings, source: Path, folder: Path, *, found: bool) -> None:
        """Count them; without any image that was found, they are the reason why the set is missing.

        Raises:
            MissingSetError: if no image was found.
            DataError: if none was listed either.
        """
        if not found and not self.count:
            raise none_listed(findings, str(source))
        if not found:
            raise MissingSetError(
                f"none of {number_of(self.count, 'image')} of {source} is in {folder}; the first is {self.first}"
                f"{near_hint(folder / self.first)}"
            )
        if self.count:
            findings.add(NOT_THERE, f"{self.first}{near_hint(folder / self.first)}", self.count)


def read_fishnet(folder: Path, findings: Findings, tables: str = "") -> SetImages:
    """Read FishNet's traits: ``train.csv`` and ``test.csv``, and ``Image_Library/FOLDER/NAME``.

    Rows without one of the nine traits are left out, as in the published code, and counted. Columns are found by their headings; the
    published code takes them by their places. An image's group is its species, since traits belong to species.

    Args:
        folder: of the set.
        findings: gets what is odd.
        tables: folder of the tables below it: ``anns`` in FishNet's repository.

    Raises:
        MissingSetError: if no image is there.
        DataError: for a trait that is not 0 or 1, or a feeding path that is neither pelagic nor benthic.
    """
    fish: list[_Fish] = []
    missing = _Missing()
    for split in ("train", "test"):
        table = _needed(folder / tables / f"{split}.csv")
        for one in _fish_of(table, split, findings):
            if is_file(folder / one.uri):
                fish.append(one)
            else:
                missing.add(one.uri)
    missing.report(findings, folder / tables, folder, found=bool(fish))
    classes, class_N = in_order_of_appearance([one.species for one in fish])
    return SetImages(
        folder, tuple(one.uri for one in fish), class_N, classes, groups=tuple(one.species for one in fish), grouped_by="species",
        splits=tuple(one.split for one in fish), attributes=TRAITS, target_NA=np.array([one.traits for one in fish], dtype=np.int8),
    )  # fmt: skip


class _Fish(NamedTuple):
    """One row of FishNet's tables."""

    uri: str
    traits: list[int]
    split: str
    species: str


def _fish_of(table: Path, split: str, findings: Findings) -> Iterator[_Fish]:
    opened, rows = sure_rows(table, TableOptions())
    for name in ("image", *TRAITS):
        if name not in opened.header:
            raise DataError(f"{opened.name} has no column {name!r}; it has {', '.join(opened.header)}")
    for row in rows:
        place = f"{table.name}, row {row.number}"
        written = [_cell(row, name) for name in TRAITS]
        image = _cell(row, "image")
        if not image:
            findings.add(NO_FILE, place)
        elif not all(written):
            findings.add("rows lack one of the nine traits; they are left out, as in the published code", place)
        else:
            within = _cell(row, "Folder") or Path(image).parent.as_posix()
            traits = [_trait(name, text, table, row.number) for name, text in zip(TRAITS, written, strict=True)]
            uri = f"Image_Library/{within}/{Path(image).name}"
            species = f"{_cell(row, 'Genus')} {_cell(row, 'Species')}".strip()
            yield _Fish(uri, traits, split, species or uri)


def _trait(name: str, text: str, table: Path, number: int) -> int:
    if name == TRAITS[0]:
        if text not in _FEEDING:
            raise DataError(f"{table}, row {number}: {name} {text!r}; pelagic and benthic are allowed")
        return _FEEDING[text]
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value not in (0.0, 1.0):
        raise DataError(f"{table}, row {number}: {name} {text!r}; 0 and 1 are allowed")
    return int(value)


def read_awa2(folder: Path, findings: Findings) -> SetImages:
    """Read AwA2: classes, 85 attributes per class, 40 classes for fitting and 10 for testing, and ``JPEGImages/CLASS``.

    Names of classes are read with or without their number before them. An image's group is its class, since attributes belong to
    classes.

    Raises:
        MissingSetError: if a file or all images are missing.
        DataError: if the matrix does not fit the names.
    """
    names = {
        name: [_unnumbered(line) for line in lines_of(_needed(folder / f"{name}.txt"))]
        for name in ("classes", "predicates", "trainclasses", "testclasses", "predicate-matrix-binary")
    }
    classes, predicates = names["classes"], names["predicates"]
    matrix = [[int(word) for word in line.split()] for line in lines_of(folder / "predicate-matrix-binary.txt")]
    if len(matrix) != len(classes) or any(len(line) != len(predicates) or {*line} - {0, 1} for line in matrix):
        raise DataError(
            f"{folder / 'predicate-matrix-binary.txt'} is not a matrix of 0 and 1 with {number_of(len(classes), 'line')} (classes.txt) of "
            f"{number_of(len(predicates), 'number')} (predicates.txt)"
        )
    uris, numbers, splits = [], [], []
    for split in ("train", "test"):
        for name in names[f"{split}classes"]:
            if name not in classes:
                raise DataError(f"{folder / f'{split}classes.txt'}: {name!r} is not a class of classes.txt")
            images = images_in(folder / "JPEGImages" / name)
            if not images:
                findings.add(NO_IMAGES, f"JPEGImages/{name}{near_hint(folder / 'JPEGImages' / name)}")
            uris += [f"JPEGImages/{name}/{image}" for image in images]
            numbers += [classes.index(name)] * len(images)
            splits += [split] * len(images)
    for name in sorted({*names_of_folders(folder / "JPEGImages")} - {*names["trainclasses"], *names["testclasses"]}):
        findings.add("class folders are in neither list of classes; they are not used", f"JPEGImages/{name}")
    if len({*splits}) < 2:
        raise MissingSetError(
            f"{folder / 'JPEGImages'} has no images of the classes of trainclasses.txt or of testclasses.txt"
        )
    class_N = np.array(numbers, dtype=np.int64)
    return SetImages(
        folder, tuple(uris), class_N, tuple(classes), groups=tuple(classes[number] for number in numbers), grouped_by="class",
        splits=tuple(splits), attributes=tuple(predicates), target_NA=np.array(matrix, dtype=np.int8)[class_N],
    )  # fmt: skip


def _needed(file: Path) -> Path:
    if not is_file(file):
        raise MissingSetError(f"{file} is missing")
    return file


def _unnumbered(line: str) -> str:
    return re.sub(r"^\d+\s+(?=\D)", "", line.strip())


def read_split_folders(folder: Path, findings: Findings, splits: Sequence[tuple[str, str]]) -> SetImages:
    """Read class folders below a folder per part, as torchvision's ImageFolder lists them: Herbarium19, PlantDoc.

    Args:
        folder: of the set.
        findings: gets what is odd.
        splits: pairs of the part's name and its folder.

    Raises:
        MissingSetError: if a part is missing or has no images.
    """
    uris: list[str] = []
    words: list[str] = []
    parts: list[str] = []
    for split, name in splits:
        if not is_folder(folder / name):
            raise MissingSetError(f"{folder / name} is missing")
        for word in names_of_folders(folder / name):
            images = images_in(folder / name / word)
            if not images:
                findings.add(NO_IMAGES, f"{name}/{word}")
            uris += [f"{name}/{word}/{image}" for image in images]
            words += [word] * len(images)
            parts += [split] * len(images)
        if split not in parts:
            raise MissingSetError(f"{folder / name} has no class folders with images")
    classes = sorted({*words})
    return SetImages(
        folder,
        tuple(uris),
        np.array([classes.index(word) for word in words], np.int64),
        tuple(classes),
        splits=tuple(parts),
    )


class _Numbers(pickle.Unpickler):
    """Reads lists of numbers from a pickle and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")):
            from numpy._core.multiarray import scalar

            return scalar
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def known_classes(folder: Path, classes: int) -> tuple[NDArray[np.int64], str]:
    """Return the numbers of Herbarium19's known classes, in sorted order of the class folders, and where they come from.

    They are in ``herbarium_19_class_splits.pkl`` of the published code. Without that file, the first half of the classes is known:
    figures are then not those of the published split.

    Raises:
        DataError: if the file is not such a split.
    """
    file = folder / "herbarium_19_class_splits.pkl"
    if not is_file(file):
        return np.arange((classes + 1) // 2), ""
    try:
        if file.stat().st_size > _LARGEST_SPLITS:
            raise ValueError("it is too large")
        held = _Numbers(io.BytesIO(file.read_bytes())).load()
        old = np.array([int(number) for number in held["Old"]], dtype=np.int64)
        new = np.array([int(number) for number in held["New"]], dtype=np.int64)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{file} is not the split of the published code ({error}); get it again") from error
    if sorted([*old.tolist(), *new.tolist()]) != list(range(classes)):
        raise DataError(
            f"{file} is a split of {number_of(len(old) + len(new), 'class', 'classes')}; the folder has {classes}"
        )
    return np.sort(old), file.name
