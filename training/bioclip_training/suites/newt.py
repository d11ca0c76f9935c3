"""Protocol of NeWT: an SVM for each of its tasks, as published and corrected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.nouns import number_of
from bioclip_core.process.quiet import importing
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.evidence.intervals import macro_interval, share_interval
from bioclip_training.suites.images import BinaryTask
from bioclip_training.suites.measuring import Measured, Measurement
from bioclip_training.suites.probes import FOLDS, svm_answers
from bioclip_training.suites.result import Figure

LEFT_OUT = "tasks have no test images, or training images of one label alone; they are left out"
FEWER_PARTS = f"tasks have fewer than {FOLDS} training images of a label, so their search has fewer than {FOLDS} parts"
COPIES = "test images have the bytes of a training image of their task; the corrected figure leaves them out"


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """Answers of one task's SVMs to its T test images."""

    task: BinaryTask
    rows_T: NDArray[np.int64]
    """Rows of the set."""
    hits_T: NDArray[np.float64]
    """Share of the runs in which each one was right."""
    is_copy_T: NDArray[np.bool_]
    """True for an image that the SVM has learnt from."""
    parts: int
    """Parts of the cross-validation within the search."""


def measure_newt(task: Measurement) -> Measured:
    """Return the accuracy over all test images of all tasks, and over tasks.

    Raises:
        DataError: if no task can be measured.
    """
    with importing():
        from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    features_ND = task.features.unit_ND.astype(np.float32)
    tasks, answered = task.images.tasks, []
    threads = threads_for(task.config.workers)
    task.progress("Tasks", 0, len(tasks))
    with threadpool_limits(limits=1):  # each task has a thread of its own
        found = in_order(partial(_answered, task, features_ND), range(len(tasks)), threads, threads, name="bioclip-svm")
        for done, (one, answers) in enumerate(zip(tasks, found, strict=True), 1):
            task.progress("Tasks", done, len(tasks))
            if answers is None:
                task.findings.add(LEFT_OUT, one.name)
                continue
            answered.append(answers)
            if answers.parts < FOLDS:
                task.findings.add(FEWER_PARTS, one.name)
            if answers.is_copy_T.any():
                task.findings.add(COPIES, one.name, int(answers.is_copy_T.sum()))
    if not answered:
        raise DataError(f"{task.images.root}: none of {number_of(len(tasks), 'task')} can be measured")
    return _figures(task, answered)


def _answered(measured: Measurement, features_ND: NDArray[np.float32], number: int) -> TaskAnswers | None:
    """Return the answers of a task, kept ones if it is finished; None if it has nothing to learn from or to be tested on."""
    task = measured.images.tasks[number]
    is_kept_T = measured.features.is_usable[task.rows_T]
    rows_T, labels_T, is_train_T = task.rows_T[is_kept_T], task.labels_T[is_kept_T], task.is_train_T[is_kept_T]
    train, test = rows_T[is_train_T], rows_T[~is_train_T]
    if len(np.unique(labels_T[is_train_T])) < 2 or not len(test):
        return None
    is_copy_T = np.isin(measured.group_N[test], measured.group_N[train])
    if (held := measured.kept.read(number)) is not None:
        return TaskAnswers(task, test, np.array(held["hits"], np.float64), is_copy_T, held["parts"])
    config, hits_T, parts = measured.config, np.zeros(len(test)), 0
    for run in range(config.runs):
        answers_T, parts = svm_answers(
            features_ND[train],
            labels_T[is_train_T],
            features_ND[test],
            draws=config.search_draws,
            seed=config.seed + run,
        )
        hits_T += (answers_T == labels_T[~is_train_T]) / config.runs
    measured.kept.write(number, {"task": task.name, "hits": hits_T.tolist(), "parts": parts})
    return TaskAnswers(task, test, hits_T, is_copy_T, parts)


def _figures(measured: Measurement, answered: list[TaskAnswers]) -> Measured:
    hits_N, rows_N = (np.concatenate([getattr(one, name) for one in answered]) for name in ("hits_T", "rows_T"))
    task_N = np.repeat(np.arange(len(answered)), [len(one.rows_T) for one in answered])
    new = np.flatnonzero(~np.concatenate([one.is_copy_T for one in answered]))
    present, task_of_new = np.unique(task_N[new], return_inverse=True)
    means = np.bincount(task_of_new, weights=hits_N[new]) / np.bincount(task_of_new)
    names, clusters = ([getattr(answered[number].task, name) for number in present] for name in ("name", "cluster"))
    group_N = measured.group_N[rows_N]
    figure = Figure(
        "accuracy of the tasks", float(hits_N.mean()), share_interval(hits_N, group_N),
        float(means.mean()) if len(means) else float("nan"), macro_interval(hits_N[new], task_of_new, group_N[new]), len(hits_N),
        measured.groups_of(rows_N), unit="answers", published_as="share of all test images of all tasks",
        corrected_as="mean over tasks, without copies of training images",
    )  # fmt: skip
    details = {
        "tasks": dict(zip(names, means.tolist(), strict=True)),
        "by_cluster": {
            cluster: float(np.mean([mean for mean, own in zip(means, clusters, strict=True) if own == cluster]))
            for cluster in dict.fromkeys(clusters)
        },
    }
    config = measured.config
    return [figure], {"runs": config.runs, "search_draws": config.search_draws, "details": details}
