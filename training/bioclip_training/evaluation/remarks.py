"""Remarks on figures that mean less than they seem to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def meaningless(labels: int, images: int, unanswerable: int) -> str:
    """Return a remark on figures of a single possible answer, or of labels without any of the images' taxa; else empty."""
    if images and unanswerable == images:
        return (
            "No answer can be right: the label set has none of the taxa of these images. Give --labels with a label set that has them, or "
            "leave it out."
        )
    if labels != 1:
        return ""
    return (
        "Only one answer is possible, which every image gets: the figures mean nothing. Add images of other species to the catalog, or "
        "give --labels with a label set of several species."
    )


def meaningless_before(model: str, labels: int, images: int, unanswerable: int) -> str:
    """Return a remark on such figures of the old model of a comparison; else empty."""
    if not meaningless(labels, images, unanswerable):
        return ""
    return (
        f"The old model, {model}, was asked with labels of which none can be right, or only one is possible: its figures mean nothing. "
        "Compare with labels that have the taxa of these images."
    )


def trained_images(found: Mapping[str, Any]) -> str:
    """Return a remark on measured images that the model or label set was made from, from the metrics; empty without any."""
    measured = found["of_train"] + (found["images"] if found["decision"] == "keep" else 0)
    if not measured:
        return ""
    many = f"{measured} of the evaluated images are" if measured > 1 else "1 of the evaluated images is"
    learner = found.get("learner", "the model")
    return f"{many} in the training data of {learner}: that accuracy is memory, and says nothing about new images."


def few_examples(few: Mapping[str, Any], shots: int) -> str:
    """Return a remark on few-shot figures with fewer examples than asked for, or of a single taxon; empty if there is none."""
    if few[f"k{shots}_taxa"] == 1:
        return "; one taxon only, so that no answer can be wrong"
    short = few[f"k{shots}_short"]
    if not short:
        return ""
    return f"; {'all' if short == few[f'k{shots}_taxa'] else short} of the taxa have fewer"
