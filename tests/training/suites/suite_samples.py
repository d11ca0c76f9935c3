"""Tiny evaluation sets of coloured images in the published layouts, for a fake model that sees colours."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bioclip_core.findings import Findings
from bioclip_core.models import ModelEntry
from bioclip_plugin.testing import FakeEncoder, FakeModel
from bioclip_training.suites.config import SuiteConfig
from bioclip_training.suites.result import SetResult
from bioclip_training.suites.run import SuiteOutcome, evaluate_suites
from bioclip_training.suites.sets import chosen_sets, located

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 100, 0),
    "teal": (0, 200, 255),
}


def paint(path: Path, colour: str, number: int = 0) -> None:
    """Write an image of one colour; images of one colour and different numbers have different bytes and equal features."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12 + number, 10), COLOURS[colour]).save(path, "PNG")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def nabirds(root: Path, words: Sequence[tuple[str, str, int]]) -> Path:
    """Write NABirds' annotation table, which has classes without taxa.

    Args:
        root: folder of the sets.
        words: class, colour and number of images.
    """
    rows = []
    for word, colour, count in words:
        for _ in range(count):
            name = f"{len(rows):04d}.png"
            paint(root / "nabirds" / name, colour, len(rows))
            rows.append({"": len(rows), "filepath": name, "class": word})
    write_table(root / "nabirds" / "metadata.csv", rows)
    return root


def rare_species(root: Path, taxa: Sequence[tuple[Sequence[str], str, str, int]]) -> Path:
    """Write Rare Species' annotation table: lineage, common name, colour and number of images of each species."""
    names = ("kingdom", "phylum", "cls", "order", "family", "genus", "species")
    rows = []
    for lineage, common, colour, count in taxa:
        for _ in range(count):
            file = f"2024-03-20/{len(rows)}.png"
            paint(root / "rare_species" / file, colour, len(rows))
            word = f"{lineage[5]} {lineage[6]}"
            rows.append(
                {
                    "": len(rows),
                    **dict(zip(names, lineage, strict=True)),
                    "common_name": common,
                    "filepath": file,
                    "class": word,
                }
            )
    write_table(root / "rare_species" / "metadata.csv", rows)
    return root


def newt(root: Path, tasks: Mapping[str, Sequence[tuple[str, int, str]]]) -> Path:
    """Write NeWT: of each task the colour, label and part of its images."""
    rows = []
    for task, images in tasks.items():
        for colour, label, split in images:
            name = f"image-{len(rows):04d}"
            path = root / "newt" / "newt2021_images" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16 + len(rows), 16), COLOURS[colour]).save(path, "JPEG")
            rows.append({"id": name, "task": task, "task_cluster": "age", "label": label, "split": split})
    write_table(root / "newt" / "newt2021_labels.csv", rows)
    return root


def awa2(root: Path, classes: Mapping[str, tuple[str, Sequence[int], str, int]], attributes: Sequence[str]) -> Path:
    """Write AwA2: of each class the colour, attributes, part and number of images."""
    folder = root / "awa2"
    folder.mkdir(parents=True)
    (folder / "classes.txt").write_text(
        "".join(f"{number:8d}\t{name}\n" for number, name in enumerate(classes, 1)), "utf-8"
    )
    (folder / "predicates.txt").write_text(
        "".join(f"{number:8d}\t{name}\n" for number, name in enumerate(attributes, 1)), "utf-8"
    )
    lines = [" ".join(map(str, held)) for _, held, _, _ in classes.values()]
    (folder / "predicate-matrix-binary.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for part in ("train", "test"):
        names = [name for name, (_, _, split, _) in classes.items() if split == part]
        (folder / f"{part}classes.txt").write_text("\n".join(names) + "\n", "utf-8")
    for name, (colour, _, _, count) in classes.items():
        for number in range(count):
            paint(folder / "JPEGImages" / name / f"{name}_{number:05d}.png", colour, number)
    return root


def class_folders(folder: Path, classes: Mapping[str, tuple[str, int]], first: int = 0) -> None:
    """Write a folder per class: its colour and number of images; ``first`` makes the bytes of two parts differ."""
    for at, (name, (colour, count)) in enumerate(classes.items()):
        for number in range(count):
            paint(folder / name / f"{number}.png", colour, first + 10 * at + number)


def read(name: str, root: Path) -> tuple[Any, Findings]:
    """Return the images of a set, and the findings of its reader."""
    (wanted,) = chosen_sets([name])
    folder, form = located(wanted, root)
    findings = Findings()
    return form[2](folder, findings), findings


def fake(*, text_tower: bool = True) -> tuple[FakeEncoder, dict[str, ModelEntry]]:
    """Return the fake encoder, and a registry with it as ``fake``."""
    found: list[ModelEntry] = []
    model = FakeModel(text_tower=text_tower)
    model.register_models(found.append)
    return model.encoder, {entry.name: entry for entry in found}


def evaluated(
    root: Path, output: Path, *suites: str, entries: dict[str, ModelEntry] | None = None, **options: Any
) -> SuiteOutcome:
    """Evaluate the fake model on sets."""
    given: dict[str, Any] = {
        "prompts": "caption",
        "workers": 1,
        "search_draws": 2,
        "runs": 1,
        "device": "cpu",
        **options,
    }
    config = SuiteConfig(suites=suites, root=str(root), model=given.pop("model", "fake"), output=str(output), **given)
    return evaluate_suites(config, entries or fake()[1])


def only(outcome: SuiteOutcome) -> SetResult:
    (result,) = outcome.results
    return result


def unit(rows: Sequence[Sequence[float]]) -> Any:
    array = np.array(rows, dtype=np.float32)
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float16)
