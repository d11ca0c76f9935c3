"""Whether a folder holds the whole published set, so that its figures can stand beside the papers'."""

from __future__ import annotations

from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_training.suites.images import SetImages
from bioclip_training.suites.measuring import NOT_COMPARABLE
from bioclip_training.suites.reading import NOT_THERE
from bioclip_training.suites.sets import EvaluationSet


def size_remarks(wanted: EvaluationSet, images: SetImages, findings: Findings) -> list[str]:
    """Return a sentence for each reason why the figures cannot be compared with the published ones.

    Args:
        wanted: the set with its published numbers of images and classes, where they are known.
        images: what the folder lists and has.
        findings: of the reader, with the number of listed images that are not there.
    """
    classes = len(images.tasks) or len(images.attributes) or len(images.classes)
    other = [
        f"{here:,} {what} instead of {published:,}"
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
