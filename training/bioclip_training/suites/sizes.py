"""Reasons why figures cannot stand beside the papers': a folder without the whole published set, or another protocol."""

from __future__ import annotations

from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.options import options_of
from bioclip_training.suites.config import SuiteConfig
from bioclip_training.suites.images import SetImages
from bioclip_training.suites.measuring import NOT_COMPARABLE
from bioclip_training.suites.reading import NOT_THERE
from bioclip_training.suites.sets import EvaluationSet

_SINGULAR = {"images": "image", "classes": "class", "tasks": "task", "traits": "trait", "attributes": "attribute"}


def protocol_remarks(config: SuiteConfig, wanted: EvaluationSet) -> list[str]:
    """Return a sentence for settings that the published code does not have for a set, so that figures are not those of its protocol."""
    asked: dict[str, tuple[object, object]] = {"resize": (config.resize, "published")}
    if wanted.kind == "species":
        text_type = wanted.text_type if config.text_type == "published" else config.text_type
        asked |= {"text_type": (text_type, wanted.text_type), "prompts": (config.prompts, "templates")}
    numbers = {"species": ("folds",), "newt": ("search_draws",)}.get(wanted.kind, ())
    published = {option.name: option.default for option in options_of(SuiteConfig)}
    asked |= {name: (getattr(config, name), published[name]) for name in numbers}
    other = [
        f"{name.replace('_', ' ')} {here} instead of {usual}" for name, (here, usual) in asked.items() if here != usual
    ]
    return [f"asked with {', '.join(other)}: {NOT_COMPARABLE}"] if other else []


def size_remarks(wanted: EvaluationSet, images: SetImages, findings: Findings) -> list[str]:
    """Return a sentence for each reason why the figures cannot be compared with the published ones.

    Args:
        wanted: the set with its published numbers of images and classes, where they are known.
        images: what the folder lists and has.
        findings: of the reader, with the number of listed images that are not there.
    """
    classes = len(images.tasks) or len(images.attributes) or len(images.classes)
    other = [
        f"{here:,} {_SINGULAR[what] if here == 1 else what} instead of {published:,}"
        for what, published, here in (
            ("images", wanted.images, len(images)),
            (wanted.counts, wanted.classes, classes),
        )
        if published and here != published
    ]
    if other:
        return [f"it has {' and '.join(other)}: {NOT_COMPARABLE}"]
    if gone := findings.count(NOT_THERE):
        return [f"{gone:,} of {number_of(gone + len(images), 'listed image')} not in the folder: {NOT_COMPARABLE}"]
    if not wanted.images:
        return [
            f"size unknown: the published number of images is not recorded here, so a copy with fewer ({len(images):,} here) is not "
            f"recognised and {NOT_COMPARABLE} unless it is known to be whole"
        ]
    return []
