"""What a protocol needs to measure a set, and the protocol of species sets."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import Encoder
from bioclip_core.errors import NoTextTower
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.scores import macro_mean
from bioclip_training.evidence.intervals import macro_interval, share_interval
from bioclip_training.suites.config import SuiteConfig
from bioclip_training.suites.features import SetFeatures
from bioclip_training.suites.few_shot import ShotFigures, few_shot_figures
from bioclip_training.suites.images import SetImages, in_order_of_appearance
from bioclip_training.suites.kept_tasks import KeptTasks
from bioclip_training.suites.result import Figure
from bioclip_training.suites.sets import EvaluationSet
from bioclip_training.suites.zero_shot import Places, class_features, corrected_words, places, published_words

Measured = tuple[list[Figure], dict[str, Any]]
"""Figures, and settings as used; the key ``details`` holds figures of parts."""
NOT_COMPARABLE = "figures cannot be compared with the published ones"
SHOTS = (1, 5)
TOPS = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A set with its features, ready for its protocol."""

    config: SuiteConfig
    wanted: EvaluationSet
    images: SetImages
    encoder: Encoder
    features: SetFeatures
    group_N: NDArray[np.int64]
    """Number of each image's group; images with equal bytes are of one group."""
    findings: Findings
    remarks: list[str]
    """Sentences about the set and its settings, for the report."""
    progress: StageProgress
    kept: KeptTasks
    """Finished tasks of an interrupted run."""

    @property
    def usable(self) -> NDArray[np.int64]:
        """Rows with features."""
        return np.flatnonzero(self.features.is_usable)

    def groups_of(self, rows: NDArray[np.int64]) -> int:
        """Return the number of groups of some rows."""
        return len(np.unique(self.group_N[rows]))


def measure_species(task: Measurement) -> Measured:
    """Return zero-shot and few-shot figures of a species set, and the protocol's settings as used."""
    text_type = task.wanted.text_type if task.config.text_type == "published" else task.config.text_type
    if task.config.text_type == "published" and task.wanted.words_note:
        task.remarks.append(task.wanted.words_note)
    settings = {"text_type": text_type, "prompts": task.config.prompts, "folds": task.config.folds}
    return [*_zero_shot(task, text_type), *_few_shot(task)], settings


def _zero_shot(task: Measurement, text_type: str) -> list[Figure]:
    images, rows = task.images, task.usable
    if text_type != "class" and not images.taxa:
        return [
            Figure(
                "zero-shot top-1",
                note=f"the set has no taxa, so there are no {text_type} words; --text-type class asks with its own",
            )
        ]
    words = words_of(images, text_type)
    for name, texts in zip(("published", "corrected"), words, strict=True):
        if empty := [images.classes[number] for number, text in enumerate(texts) if not text]:
            return [
                Figure(
                    "zero-shot top-1",
                    note=f"{number_of(len(empty), 'class', 'classes')} without {text_type} words (the first: {empty[0]})",
                )
            ]
        if shared := len(texts) - len({*texts}):
            twice = next(text for number, text in enumerate(texts) if text in texts[:number])
            task.findings.add(f"classes share the words of another one in the {name} prompts", twice, shared)
    try:
        published, corrected = _places(task, words)
    except NoTextTower as error:
        return [Figure("zero-shot top-1", note=f"{error}; few-shot figures need no text")]
    class_N, group_N = images.class_N[rows], task.group_N[rows]
    figures = []
    for top in TOPS:
        as_published, hit_N = published.listed_hits(top), corrected.hits(top)
        if top >= len({*words[0]}):
            figures.append(
                Figure(
                    f"zero-shot top-{top}",
                    note=f"with {number_of(len({*words[0]}), 'class', 'classes')} every answer is among the best {top}",
                )
            )
            continue
        figures.append(
            Figure(
                f"zero-shot top-{top}", float(as_published.mean()), share_interval(as_published, group_N), macro_mean(hit_N, class_N),
                macro_interval(hit_N, class_N, group_N), len(rows), task.groups_of(rows),
                published_as="share of images", corrected_as="mean over classes" + _text_change(words),
            )
        )  # fmt: skip
    return figures


def words_of(images: SetImages, text_type: str) -> tuple[list[str], list[str]]:
    """Return the published and the corrected words of each class."""
    if text_type == "class":
        return list(images.classes), [" ".join(word.replace("_", " ").split()) for word in images.classes]
    return [published_words(taxon, text_type) for taxon in images.taxa], [
        corrected_words(taxon, text_type) for taxon in images.taxa
    ]


def _text_change(words: tuple[list[str], list[str]]) -> str:
    changed = [pair for pair in zip(*words, strict=True) if pair[0] != pair[1]]
    if not changed:
        return ""
    return f"; other words for {number_of(len(changed), 'class', 'classes')} ({changed[0][0]!r} is asked as {changed[0][1]!r})"


def _places(task: Measurement, words: tuple[list[str], list[str]]) -> tuple[Places, Places]:
    """Return the places of the right classes by the published words, of which equal ones are one class, and by the corrected ones.

    Words that both have are encoded once.
    """
    unique, number_W = in_order_of_appearance([*words[0], *words[1]])
    all_templates = task.config.prompts == "templates"
    words_UD = class_features(task.encoder, unique, all_templates=all_templates, progress=task.progress)
    features, class_N = task.features.unit_ND[task.usable], task.images.class_N[task.usable]
    merged, number_C = in_order_of_appearance(words[0])
    published = places(features, words_UD[: len(merged)], number_C[class_N])
    return published, places(features, words_UD[number_W[len(words[0]) :]], class_N)


def _few_shot(task: Measurement) -> list[Figure]:
    rows = task.usable
    class_N, group_N = task.images.class_N[rows], task.group_N[rows]
    figures = []
    for shots in SHOTS:
        found = few_shot_figures(task.features.unit_ND[rows], class_N, group_N, shots=shots, folds=task.config.folds)
        name = f"{shots}-shot accuracy"
        if found.short:
            task.findings.add(
                f"classes have at most {number_of(shots, 'image')}: no {shots}-shot example with a query left",
                task.images.classes[found.short[0]], len(found.short),
            )  # fmt: skip
        if found.leaked:
            task.findings.add(
                f"{shots}-shot queries of all folds {_belonging(task.images)}; the corrected figure leaves them out",
                task.images.uris[rows[found.first_leaked]],
                found.leaked,
            )
        if found.classes < 2:
            figures.append(Figure(name, note=f"fewer than two classes have more than {number_of(shots, 'image')}"))
            continue
        note = ""
        if isnan(found.published):
            note = (
                f"the published code stops: a class has fewer than {number_of(shots, 'image')}"
                if found.short
                else "no queries are left"
            )
        figures.append(
            Figure(
                name, found.published, found.published_ci95, found.corrected, found.corrected_ci95, found.corrected_queries,
                found.groups, found.published_spread,
                published_as="" if isnan(found.published) else f"share of {found.published_queries} queries, mean of folds",
                corrected_as=f"mean over {_of_classes(found)}, without queries that belong with an example", note=note,
            )
        )  # fmt: skip
    return figures


def _of_classes(found: ShotFigures) -> str:
    """Return which classes a few-shot figure is of: the fewer there are, the easier it is."""
    return f"{found.classes} of {found.classes + len(found.short)} classes" if found.short else "classes"


def _belonging(images: SetImages) -> str:
    if images.grouped_by == "image":
        return "are copies of an example, byte by byte"
    return f"are of an example's {images.grouped_by}, or copies of it"


def part_figure(
    name: str, hit_N: NDArray[np.float64], group_N: NDArray[np.int64], inside_N: NDArray[np.bool_]
) -> Figure:
    """Return the corrected figure of some of the images."""
    if not inside_N.any():
        return Figure(name, note="there are no such images")
    hit_N, group_N = hit_N[inside_N], group_N[inside_N]
    return Figure(
        name,
        corrected=float(hit_N.mean()),
        corrected_ci95=share_interval(hit_N, group_N),
        n=len(hit_N),
        groups=len(np.unique(group_N)),
    )
