"""Check of published shards, for which there is no manifest: what each file holds, what is usable, and what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.findings import Findings, shortened
from bioclip_core.images.decoding import read_bytes
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.images.unexpected import contained
from bioclip_core.nouns import number_of
from bioclip_core.progress import Progress, silent
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.published.collections import holders_in, samples_in
from bioclip_training.published.held import HeldSample, Holder
from bioclip_training.published.img2dataset_tables import NO_IMAGE_ROW
from bioclip_training.published.opening import ImageOpener
from bioclip_training.published.sample_texts import NOT_FINITE, REPEATED
from bioclip_training.published.samples import SEVERAL_IMAGES
from bioclip_training.shards.checking import Problem

_REMARKS = frozenset((SEVERAL_IMAGES, REPEATED, NOT_FINITE))
"""Findings that are read as they are meant: no damage."""
_UNDECODED = "images cannot be decoded"


@dataclass(slots=True)
class PublishedCheck:
    """What a check of published shards found."""

    files: int = 0
    images: int = 0
    with_taxon: int = 0
    with_caption: int = 0
    bytes: int = 0
    remarks: list[str] = field(default_factory=list)
    """Findings that are no damage, over all files."""
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    holder: Holder
    findings: Findings = field(default_factory=Findings)
    images: int = 0
    with_taxon: int = 0
    with_caption: int = 0


def check_published(
    folder: Path, *, decode: bool = False, workers: int = 0, progress: Progress = silent
) -> PublishedCheck:
    """Read every header and text of published shards, and with ``decode`` every image.

    Args:
        folder: of the shards.
        decode: also decode every image.
        workers: number of threads; 0 is one per core, at most 16.
        progress: called with the number of files done, and their total.
    """
    found, elsewhere, remarks = PublishedCheck(), Findings(), Findings()
    holders = holders_in(folder, elsewhere)
    found.problems += [Problem(example, text) for text, _, example in elsewhere.found()]
    threads = threads_for(workers)
    opener = ImageOpener(folder)
    work = partial(_checked, folder, opener if decode else None)
    for done, one in enumerate(in_order(work, holders, threads, 2 * threads, name="bioclip-check"), 1):
        found.files, found.bytes = done, found.bytes + (one.holder.bytes if one.holder.kind != "files" else 0)
        found.images, found.with_taxon = found.images + one.images, found.with_taxon + one.with_taxon
        found.with_caption += one.with_caption
        found.problems += _problems(one, remarks)
        progress(done, len(holders))
    opener.close()
    found.remarks = list(remarks.lines())
    return found


def _checked(folder: Path, opener: ImageOpener | None, holder: Holder) -> _File:
    one = _File(holder)
    try:
        for sample in samples_in(folder, holder, one.findings, one.findings):
            if opener is not None and (reason := _damage(folder, opener, sample)):
                one.findings.add(_UNDECODED, f"{sample.member or sample.file}: {reason}")
                continue
            one.images += 1
            one.with_taxon += sample.about.has_taxon
            one.with_caption += bool(sample.about.caption or sample.about.captions)
    except SourceError as error:
        one.findings.add("it cannot be read", str(error))
    return one


def _damage(folder: Path, opener: ImageOpener, sample: HeldSample) -> str:
    try:
        with contained(sample.uri):
            data = (
                opener.read(sample.uri)
                if not sample.size
                else read_bytes(folder / sample.file, (sample.offset, sample.size))
            )
            EncodedRegion(data).pixels()
    except ImageError as error:
        return str(error)
    return ""


def _problems(one: _File, remarks: Findings) -> Iterator[Problem]:
    """Yield the damages of a file, each with what of the file is usable, and add the rest to the remarks."""
    for text, count, example in one.findings.found():
        if text in _REMARKS or text.startswith(f"{NO_IMAGE_ROW} ("):  # the fetcher's own words: no damage
            remarks.add(text, example, count)
            continue
        usable = f"; {number_of(one.images, 'image')} of it {'is' if one.images == 1 else 'are'} usable"
        yield Problem(one.holder.name, f"{text}: {count} (the first: {shortened(example)}){usable}")
