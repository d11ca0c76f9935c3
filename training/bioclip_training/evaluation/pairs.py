"""Pairs of taxa that are taken for each other most often, with example images of both for the report."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.images.memory import image_memory
from bioclip_core.images.thumbnails import encoded, without_padding
from bioclip_core.images.unexpected import contained
from bioclip_core.preprocessing import preprocessing_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.truth import EXACT

MOST_PAIRS = 20
THUMBNAIL = 200
"""Longer side of an example image in pixels, about 6 kB."""


def confused_pairs(answers: Answers) -> list[dict[str, Any]]:
    """Return the pairs with the most wrong answers in either direction.

    Each has both names, the number of wrong answers from first to second and back, the images of each, and ``examples``: the
    surest wrong answer in each direction, and an image of the taxon that was answered, with ``row`` (of the catalog), ``truth``,
    ``answer`` and ``probability`` (None for an image that only shows its taxon).
    """
    exact, names = answers.scores[EXACT], answers.question.names
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    truth_of_span: dict[int, int] = {}
    for truth in np.flatnonzero((exact.truth.spans_CK >= 0).any(axis=1)).tolist():
        for span in exact.truth.spans_CK[truth].tolist():
            truth_of_span.setdefault(span, truth)
    wrong: dict[frozenset[str], dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in np.flatnonzero(exact.place_N != 0).tolist():
        span = int(exact.top_NK[place, 0])
        known = truth_of_span.get(span)
        answer = names[known] if known is not None else answers.name(int(starts_S[span]), exact.truth.level)
        truth_name = names[int(answers.truth_N[place])]
        wrong[frozenset((truth_name, answer))][truth_name, answer].append(place)
    shown = _Examples(answers)
    ordered = sorted(wrong.values(), key=lambda ways: (-sum(map(len, ways.values())), sorted(ways)))
    return [_pair(ways, shown) for ways in ordered[:MOST_PAIRS]]


def _pair(ways: dict[tuple[str, str], list[int]], shown: _Examples) -> dict[str, Any]:
    (first, second), places = max(ways.items(), key=lambda way: (len(way[1]), way[0]))
    back = ways.get((second, first), []) if first != second else []
    examples = [shown.wrong(places, first, second), shown.right(second)]
    if back:
        examples += [shown.wrong(back, second, first), shown.right(first)]
    return {
        "first": first, "second": second, "wrong": len(places), "back": len(back),
        "first_images": shown.images(first), "second_images": shown.images(second),
        "examples": [example for example in examples if example is not None],
    }  # fmt: skip


class _Examples:
    """Chooser of example images: the surest wrong answer, and the surest right one of a taxon."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._sure_N = answers.scores[EXACT].probability_NK[:, 0]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, truth in enumerate(answers.truth_N.tolist()):
            self._places[answers.question.names[truth]].append(place)
        self._rows: dict[str, int] = {}
        for row, truth in enumerate(answers.question.truth_of_row.tolist()):
            if truth >= 0:
                self._rows.setdefault(answers.question.names[truth], row)

    def images(self, name: str) -> int:
        return len(self._places.get(name, []))

    def wrong(self, places: list[int], truth: str, answer: str) -> dict[str, Any]:
        place = max(places, key=lambda one: (self._sure_N[one], -one))
        return self._example(int(self._answers.rows_N[place]), truth, answer, float(self._sure_N[place]))

    def right(self, name: str) -> dict[str, Any] | None:
        """Return an image of a taxon: the surest right answer, else any of its rows in the catalog."""
        is_right = self._answers.scores[EXACT].place_N == 0
        right = [place for place in self._places.get(name, []) if is_right[place]]
        if right:
            place = max(right, key=lambda one: (self._sure_N[one], -one))
            return self._example(int(self._answers.rows_N[place]), name, name, float(self._sure_N[place]))
        return self._example(self._rows[name], name, None, None) if name in self._rows else None

    def _example(self, row: int, truth: str, answer: str | None, probability: float | None) -> dict[str, Any]:
        return {"row": row, "truth": truth, "answer": answer, "probability": probability}


def thumbnail(catalog: Catalog, row: int) -> bytes | None:
    """Return a small picture of a row's region; None if it cannot be read, or is not the recorded one."""
    contract = preprocessing_of(THUMBNAIL, options={"resize_mode": "longest", "interpolation": "bilinear"})
    try:
        with contained(), image_memory():
            region = catalog.encoded(row)
            data, frame, box = region.data, region.frame, region.box
            width, height = upright_size(data, frame=frame)
            (pixels,) = decode_regions(data, [box], contract, frame=frame)
            return encoded(without_padding(pixels, width * (box[2] if box else 1), height * (box[3] if box else 1)))
    except (ImageError, UsageError):
        return None
