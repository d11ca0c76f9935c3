"""The protocol of each kind of set, and those of Herbarium19 and PlantDoc, as published and corrected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_training.evaluation.few_shot import nearest_centroid
from bioclip_training.evaluation.scores import macro_mean
from bioclip_training.evidence.intervals import macro_interval, share_interval
from bioclip_training.suites.attribute_tasks import measure_awa2, measure_fishnet
from bioclip_training.suites.discovery import matched, matched_separately, semi_supervised_clusters
from bioclip_training.suites.measuring import NOT_COMPARABLE, Measured, Measurement, measure_species, part_figure
from bioclip_training.suites.newt import measure_newt
from bioclip_training.suites.reading_tasks import known_classes
from bioclip_training.suites.result import Figure

LABELLED_SHARE = 0.8
PLANTDOC_DRAWS = 5


def measure(task: Measurement) -> Measured:
    """Return the figures of a set by its protocol.

    Raises:
        DataError: if too few images are left for the protocol.
    """
    return _PROTOCOLS[task.wanted.kind](task)


def _herbarium(task: Measurement) -> Measured:
    images, usable = task.images, task.features.is_usable
    known, split_file = known_classes(images.root, len(images.classes))
    if not split_file:
        task.remarks.append(
            f"herbarium_19_class_splits.pkl is not in the folder, so the first half of the classes is known: {NOT_COMPARABLE}; the file "
            "is in src/evaluation of github.com/Imageomics/bioclip-2"
        )
    is_known_N = np.isin(images.class_N, known)
    of_known = np.flatnonzero(is_known_N)
    drawn = np.random.RandomState(0).choice(len(of_known), replace=False, size=int(LABELLED_SHARE * len(of_known)))
    is_labelled_N = np.zeros(len(images), dtype=bool)
    is_labelled_N[of_known[drawn]] = True
    labelled, rest = np.flatnonzero(is_labelled_N & usable), np.flatnonzero(~is_labelled_N & usable)
    if not len(labelled) or not len(rest):
        raise DataError(f"{images.root}: no {'labelled' if not len(labelled) else 'unlabelled'} images are left")
    features = task.features.unit_ND.astype(np.float32)
    published, together = [], []
    for run in range(task.config.runs):
        task.progress("Clustering", run, task.config.runs)
        clusters = semi_supervised_clusters(
            features[labelled], images.class_N[labelled], features[rest], len(images.classes), task.config.seed + run
        )
        published.append(matched_separately(clusters, images.class_N[rest], is_known_N[rest]))
        together.append(matched(clusters, images.class_N[rest]))
    task.progress("Clustering", task.config.runs, task.config.runs)
    right_N, hit_N, group_N = np.mean(published, axis=0), np.mean(together, axis=0), task.group_N[rest]
    figure = Figure(
        "clustering accuracy", float(right_N.mean()), share_interval(right_N, group_N), float(hit_N.mean()),
        share_interval(hit_N, group_N), len(rest), task.groups_of(rest), float(np.std(np.mean(published, axis=1))),
        published_as="known and new classes are matched separately", corrected_as="one match for all classes",
    )  # fmt: skip
    parts = [
        part_figure(f"clustering accuracy, {name} classes", hit_N, group_N, mask)
        for name, mask in (("known", is_known_N[rest]), ("new", ~is_known_N[rest]))
    ]
    return [figure, *parts], {
        "runs": task.config.runs, "known_classes": len(known), "class_split": split_file or "first half", "labelled_images": len(labelled),
    }  # fmt: skip


def _plantdoc(task: Measurement) -> Measured:
    images, features = task.images, task.features.unit_ND.astype(np.float32)
    train, test = (np.intersect1d(images.rows_of(split), task.usable) for split in ("train", "test"))
    if not len(train) or not len(test):
        raise DataError(f"{images.root}: no usable images in {'train' if not len(train) else 'test'}")
    number_of_class = {split: np.unique(images.class_N[images.rows_of(split)]) for split in ("train", "test")}
    if not np.array_equal(number_of_class["train"], number_of_class["test"]):
        lacking = np.setdiff1d(number_of_class["train"], number_of_class["test"]).tolist()
        extra = np.setdiff1d(number_of_class["test"], number_of_class["train"]).tolist()
        task.findings.add(
            "classes are in one of train and test alone; the published code numbers both apart and so compares others",
            images.classes[[*lacking, *extra][0]], len(lacking) + len(extra),
        )  # fmt: skip
    published, corrected = np.zeros((PLANTDOC_DRAWS, len(test))), np.full((PLANTDOC_DRAWS, len(test)), np.nan)
    for draw in range(PLANTDOC_DRAWS):
        drawn = np.random.RandomState(task.config.seed + draw)
        support = np.concatenate(
            [
                _shuffled(train[images.class_N[train] == number], drawn)[:1]
                for number in np.unique(images.class_N[train])
            ]
        )
        present, class_S = np.unique(images.class_N[support], return_inverse=True)
        answers = present[nearest_centroid(features[test], features[support], class_S, len(present))]
        place_of = {int(number): place for split in ("train",) for place, number in enumerate(number_of_class[split])}
        test_place = np.searchsorted(number_of_class["test"], images.class_N[test])
        published[draw] = np.array([place_of[int(number)] for number in answers]) == test_place
        apart = ~np.isin(task.group_N[test], task.group_N[support]) & np.isin(images.class_N[test], present)
        corrected[draw, apart] = (answers == images.class_N[test])[apart]
    return _plantdoc_figures(task, test, published, corrected)


def _plantdoc_figures(
    task: Measurement, test: NDArray[np.int64], published: NDArray[np.float64], corrected: NDArray[np.float64]
) -> Measured:
    right_N, class_N, group_N = published.mean(axis=0), task.images.class_N[test], task.group_N[test]
    asked = np.flatnonzero(np.isfinite(corrected).any(axis=0))
    hit_N = np.nanmean(corrected[:, asked], axis=0)
    _, own = np.unique(class_N[asked], return_inverse=True)
    figure = Figure(
        "1-shot accuracy", float(right_N.mean()), share_interval(right_N, group_N), macro_mean(hit_N, own),
        macro_interval(hit_N, own, group_N[asked]), len(asked), task.groups_of(test[asked]), float(np.std(published.mean(axis=1))),
        published_as="share of test images, classes compared by their number in each folder",
        corrected_as="mean over classes, compared by name, without copies of an example",
    )  # fmt: skip
    return [figure], {"draws": PLANTDOC_DRAWS}


def _shuffled(rows: NDArray[np.int64], drawn: np.random.RandomState) -> NDArray[np.int64]:
    shuffled = rows.copy()
    drawn.shuffle(shuffled)
    return shuffled


_PROTOCOLS: dict[str, Callable[[Measurement], Measured]] = {
    "species": measure_species, "newt": measure_newt, "fishnet": measure_fishnet, "awa2": measure_awa2, "herbarium-19": _herbarium,
    "plantdoc": _plantdoc,
}  # fmt: skip
