"""The stage after the encoder: features to candidates and answers, for many rows at once, on a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bioclip_core.errors import PluginError
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import Place, place_of
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.tasks import RegionWork, Task, answer_of

ROWS_AT_ONCE = 64
"""Rows that are compared with many labels at once: each pass reads the whole label set from memory."""
_MANY_LABELS = 10_000
"""Number of labels from which that is worth the wait for more rows."""


class Answering:
    """Classifies tasks that have their features, and makes their answers."""

    def __init__(self, engine: Engine, *, repeat_done: bool) -> None:
        self._engine, self._repeat_done = engine, repeat_done

    def rows_at_once(self, batch_size: int) -> int:
        """Return the number of rows that are waited for, given the size of the encoder's batches."""
        classifier = vars(self._engine).get("classifier")  # not opened for this
        return max(batch_size, ROWS_AT_ONCE) if classifier and len(classifier.labels) >= _MANY_LABELS else batch_size

    def answer(self, batch: Sequence[Task]) -> None:
        """Classify every region that has features and no stored answer, then make the answers."""
        to_classify = [task for task in batch if task.failure is None]
        self._ask_for_weights(to_classify)
        unanswered = [(task, work) for task in to_classify for work in unanswered_of(task)]
        if unanswered:
            features_BD = np.stack([work.features for _, work in unanswered if work.features is not None])
            found = self._engine.classify(features_BD, [place_of(task.item) for task, _ in unanswered])
            for (task, work), classification in zip(unanswered, found, strict=True):
                work.classification = classification
                if not classification.by_rank.get(self._engine.level):  # without a candidate it is not an answer
                    task.failure = Failure("classify", self._engine.reason_without_candidates())
        for task in batch:
            if task.original is None and (self._repeat_done or not task.is_done):
                task.answer = answer_of(task, self._engine)

    def _ask_for_weights(self, tasks: Sequence[Task]) -> None:
        """Make failures of items at whose place a plugin cannot weigh the labels."""
        if not self._engine.weighs:
            return
        reasons: dict[Place, str] = {}
        for task in tasks:
            place = place_of(task.item)
            if not unanswered_of(task):
                continue
            if place not in reasons:
                try:
                    self._engine.prior(place)
                    reasons[place] = ""
                except PluginError as error:
                    reasons[place] = str(error)
            if reasons[place]:
                task.failure = Failure("classify", reasons[place])


def unanswered_of(task: Task) -> list[RegionWork]:
    """Return the regions that have features and no stored answer; none of a failed item."""
    if task.failure is not None:
        return []
    return [work for work in task.regions if work.stored is None and work.features is not None]
