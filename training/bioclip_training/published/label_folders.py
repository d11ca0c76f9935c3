"""Layouts whose labels are names of folders and no taxa: PlantDoc, Herbarium19; and NABirds with its lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bioclip_core.errors import SourceError
from bioclip_core.tables.reading import lines_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import ReadOptions, Recognition, check_settings
from bioclip_training.published.reading.finishing import IMAGES, MISSING_IMAGES, finished, image_folder, keeps_missing
from bioclip_training.published.reading.folders import names_of_folders
from bioclip_training.published.reading.hashed import ImageFiles, image_names
from bioclip_training.published.records import batches_of

_PLANTDOC = frozenset(
    name.casefold()
    for name in (
        "Apple Scab Leaf", "Apple leaf", "Apple rust leaf", "Bell_pepper leaf", "Bell_pepper leaf spot", "Blueberry leaf",
        "Cherry leaf", "Corn Gray leaf spot", "Corn leaf blight", "Corn rust leaf", "Peach leaf", "Potato leaf",
        "Potato leaf early blight", "Potato leaf late blight", "Raspberry leaf", "Soyabean leaf", "Soybean leaf",
        "Squash Powdery mildew leaf", "Strawberry leaf", "Tomato Early blight leaf", "Tomato Septoria leaf spot", "Tomato leaf",
        "Tomato leaf bacterial spot", "Tomato leaf late blight", "Tomato leaf mosaic virus", "Tomato leaf yellow virus",
        "Tomato mold leaf", "Tomato two spotted spider mites leaf", "grape leaf", "grape leaf black rot",
    )
)  # fmt: skip
"""Classes of PlantDoc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFolders:
    """Folders SPLIT/LABEL/ whose labels are captions."""

    name: str
    title: str
    needs: str
    splits: tuple[str, ...]
    """Names of the folders of splits."""
    is_label: Callable[[str], bool]
    is_number: bool = False
    """True if labels are numbers of categories."""
    options = ()

    def recognise(self, path: Path) -> Recognition | None:
        splits = self._splits(path)
        if not splits:
            return None
        example = names_of_folders(path / splits[0])[0]
        meaning = (
            "number of the category; its name is not published with the images"
            if self.is_number
            else "caption; it is not a taxon"
        )
        return Recognition(
            layout=self.name,
            taken=(
                (", ".join(splits), "splits"),
                (f"{splits[0]}/{example}", meaning),
                ("path of the image", "id of the record"),
            ),
            confidence=f"the folders in {splits[0]} are classes of {self.title}",
        )

    def _splits(self, path: Path) -> list[str]:
        found = {name: names_of_folders(path / name) for name in self.splits if (path / name).is_dir()}
        return [name for name, labels in found.items() if labels and all(map(self.is_label, labels))]

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        splits = self._splits(path)
        if not splits:
            raise SourceError(f"{shown_path(path)} is not {self.title} as published: needed is {self.needs}")
        yield from finished(batches_of(self._records(path, splits, options)), path, options, None)

    def _records(self, path: Path, splits: Sequence[str], options: ReadOptions) -> Iterator[dict[str, str]]:
        for split in splits:
            for label in names_of_folders(path / split):
                for uri in image_names(path, f"{split}/{label}", options=options):
                    taxon = label if self.is_number else ""
                    yield {
                        "record_id": uri,
                        "uri": uri,
                        "caption": label,
                        "source_taxon_id": taxon,
                        "published_split": split,
                    }


PLANTDOC = LabelFolders(
    name="plantdoc",
    title="PlantDoc",
    needs="folders train and test with folders named by PlantDoc's classes (Apple Scab Leaf, Tomato leaf late blight …)",
    splits=("train", "test", "TRAIN", "TEST"),
    is_label=lambda name: name.casefold() in _PLANTDOC,
)
HERBARIUM_19 = LabelFolders(
    name="herbarium19",
    title="Herbarium 2019",
    needs="folders small-train and small-validation with folders of categories, which are numbers",
    splits=("small-train", "small-validation"),
    is_label=str.isdecimal,
    is_number=True,
)


# -- NABirds -----------------------------------------------------------------------------------------------------------

_LISTS = ("images.txt", "image_class_labels.txt", "classes.txt")
_PLUMAGE = re.compile(r"\s*\([^()]*\)$")
NO_CLASS = "images without a class in image_class_labels.txt"
NO_CLASS_NAME = "classes without a name in classes.txt"


class NABirds:
    """NABirds as downloaded: images.txt, image_class_labels.txt, classes.txt, and more lists."""

    name = "nabirds"
    title = "NABirds"
    needs = "images.txt, image_class_labels.txt and classes.txt, and the folder images"
    options = (IMAGES, MISSING_IMAGES)

    def recognise(self, path: Path) -> Recognition | None:
        if not all((path / name).is_file() for name in _LISTS):
            return None
        first = next(lines_of(path / "images.txt"), "").split()
        if len(first) != 2 or "/" not in first[1]:
            return None
        optional = {
            "train_test_split.txt": "splits",
            "photographers.txt": "rights holders",
            "bounding_boxes.txt": "not read",
        }
        return Recognition(
            layout=self.name,
            taken=(
                ("images.txt", "id of the record and file of the image"),
                ("classes.txt", "caption; without the plumage in brackets also the common name"),
                *((name, meaning) for name, meaning in optional.items() if (path / name).is_file()),
            ),
            confidence="it has NABirds' lists images.txt, image_class_labels.txt and classes.txt",
            missing=tuple(
                f"{name}: {meaning}"
                for name, meaning in optional.items()
                if not (path / name).is_file() and meaning != "not read"
            ),
            files=tuple(path / name for name in (*_LISTS, *optional) if (path / name).is_file()),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        lacking = [name for name in _LISTS if not (path / name).is_file()]
        if lacking:
            raise SourceError(f"{shown_path(path)} lacks {', '.join(lacking)}; needed is {self.needs}")
        images = image_folder(self, path, options, ("images", ""))
        listed = None if keeps_missing(self, options) else ImageFiles(path, [images])
        rows = batches_of(_nabirds_records(path, f"{images}/" if images else "", options))
        yield from finished(rows, path, options, listed, where=images)


def _nabirds_records(path: Path, prefix: str, options: ReadOptions) -> Iterator[dict[str, str]]:
    classes, labels, splits, holders = (
        _pairs(path / name)
        for name in ("classes.txt", "image_class_labels.txt", "train_test_split.txt", "photographers.txt")
    )
    for number, file in _pairs(path / "images.txt").items():
        if number not in labels:
            options.skip(NO_CLASS, f"{number} {file}")
            continue
        label = classes.get(labels[number], "")
        if not label:
            options.skip(NO_CLASS_NAME, f"class {labels[number]}, {file}")
            continue
        yield {
            "record_id": number,
            "uri": prefix + file,
            "caption": label,
            "common_name": _PLUMAGE.sub("", label),
            "common_name_language": "en",
            "source_taxon_id": labels[number],
            "rights_holder": holders.get(number, ""),
            "published_split": {"1": "train", "0": "test"}.get(splits.get(number, ""), ""),
        }


def _pairs(path: Path) -> dict[str, str]:
    """Return the lines ``KEY VALUE`` of a list; nothing if it does not exist."""
    if not path.is_file():
        return {}
    return {key: value.strip() for key, _, value in (line.partition(" ") for line in lines_of(path))}
