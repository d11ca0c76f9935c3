"""The short way to a local label set: prototypes of a catalog's images, and their accuracy on images held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import captions_for_labels
from bioclip_core.errors import SourceError
from bioclip_core.labels.joining import matching_rows
from bioclip_core.labels.label_set import Block, LabelSet, in_memory
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.catalog.rows import Catalog, hashed_share
from bioclip_training.evaluation.features import FeatureBook, StageProgress, silent
from bioclip_training.evaluation.truth import EXACT, truths_of

if TYPE_CHECKING:
    from bioclip_core.encoder import Encoder

HELD_OUT = ("dev", "val")
"""The parts that accuracy is stated on, where a catalog has them and the examples are not of them."""

MOST_HELD_OUT = 2000
"""Images of a part; of more the same ones are drawn every time. 2,000 tell an accuracy to two points."""


@dataclass(frozen=True, slots=True)
class Sample:
    """N images of one part of a catalog, with what they show."""

    part: str
    features_ND: NDArray[np.float16]
    taxa: tuple[Taxon, ...]

    def __len__(self) -> int:
        return len(self.taxa)

    def where(self, wanted_N: Iterable[bool]) -> Sample:
        """Some of the images."""
        rows = np.flatnonzero(np.fromiter(wanted_N, dtype=bool, count=len(self)))
        return replace(self, features_ND=self.features_ND[rows], taxa=tuple(self.taxa[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the best answer is right."""

    answers: str
    """Which labels answered: ``prototypes``, ``text``, ``stacked`` or ``joined``."""
    part: str
    taxa: str
    """Of which taxa the images are: ``all``, ``old`` or ``new``."""
    images: int
    label: float
    """Of the whole name, at whatever rank it is known."""
    genus: float | None = None
    """Of the genus, over the images that have one; None where that is not known."""


def sample_of(
    catalog: Catalog, part: str, book: FeatureBook, *, most: int | None = None, progress: StageProgress = silent
) -> Sample:
    """Encode the images of a part; one that cannot be read is in the book's ``failures`` and left out.

    Args:
        catalog: an open catalog.
        part: as :meth:`Catalog.rows_of` takes it.
        book: encodes.
        most: how many at most, drawn by the hash of their uri.
        progress: called with a word, images done and images in all.

    Raises:
        SourceError: if no image could be read.
    """
    rows = catalog.rows_of(part)
    named = np.array([catalog.taxon(row).rank is not None for row in rows.tolist()], dtype=bool)
    rows = rows[named]
    if most is not None and len(rows) > most:
        uris = catalog.column("uri")
        drawn = sorted(rows.tolist(), key=lambda row: (hashed_share(f"held out {uris[row]}"), row))[:most]
        rows = np.sort(np.array(drawn))
    book.encode(rows, f"Encoding {part}", progress)
    rows = rows[book.usable(rows)]
    return Sample(part, book.of(rows), tuple(catalog.taxon(row) for row in rows.tolist()))


def examples_of(catalog: Catalog, split: str, book: FeatureBook, *, progress: StageProgress = silent) -> Sample:
    """The images that prototypes are made of.

    Raises:
        SourceError: if the part has no image with a name, or none could be read.
    """
    examples = sample_of(catalog, split, book, progress=progress)
    if not len(examples):
        there = ", ".join(sorted({word for word in catalog.column("split") if word})) or "none"
        raise SourceError(
            f"{catalog.file} has no usable image in {split!r}; its splits are: {there}. Choose with --split; all takes every image"
        )
    return examples


def held_out_of(catalog: Catalog, split: str, book: FeatureBook, *, progress: StageProgress = silent) -> list[Sample]:
    """The images of each part of ``HELD_OUT`` that shares none with the examples."""
    used = set(catalog.rows_of(split).tolist())
    samples = []
    for part in HELD_OUT:
        rows = set(catalog.rows_of(part).tolist())
        if rows and not rows & used:
            samples.append(sample_of(catalog, part, book, most=MOST_HELD_OUT, progress=progress))
    return [sample for sample in samples if len(sample)]


def text_labels(taxa: Iterable[Taxon], encoder: Encoder) -> LabelSet:
    """The taxonomic captions of distinct taxa as a label set in memory.

    Raises:
        NoTextTower: if the encoder is image-only.
    """
    distinct = list({taxon.lineage: taxon for taxon in taxa}.values())
    embeddings_ND = encoder.encode_texts([captions_for_labels(taxon)[0] for taxon in distinct])
    block = Block(0, len(distinct), "text", encoder.logit_scale, encoder.logit_bias)
    return in_memory(distinct, embeddings_ND, encoder.identity, [block])


def accuracy_of(labels: LabelSet, sample: Sample, answers: str, taxa: str = "all", *, device: str = "cpu") -> Accuracy:
    """How often a label set's best answer to a sample of at least one image is right."""
    from bioclip_core.classify import Classifier
    from bioclip_training.evaluation.zero_shot import score

    distinct = list(dict.fromkeys(sample.taxa))
    number = {taxon: place for place, taxon in enumerate(distinct)}
    taxon_N = np.array([number[taxon] for taxon in sample.taxa])
    every = truths_of(distinct, labels)
    truths = {level: every[level] for level in (EXACT, Rank.GENUS.value)}
    found = score(Classifier(labels, device), sample.features_ND, taxon_N, truths, silent)
    right_N, genus_right_N = (found[level].place_N == 0 for level in (EXACT, Rank.GENUS.value))
    named_N = found[Rank.GENUS.value].counted(taxon_N)
    genus = float(genus_right_N[named_N].mean()) if named_N.any() else None
    return Accuracy(answers, sample.part, taxa, len(sample), float(right_N.mean()), genus)


def known_to(labels: LabelSet, sample: Sample) -> list[bool]:
    """For each image whether its taxon stands in a label set."""
    distinct = list(dict.fromkeys(sample.taxa))
    known = dict(zip(distinct, matching_rows(labels, distinct) >= 0, strict=True))
    return [bool(known[taxon]) for taxon in sample.taxa]


def compare_alone(
    prototypes: LabelSet, text: LabelSet | None, held_out: Sequence[Sample], *, device: str = "cpu"
) -> list[Accuracy]:
    """Prototypes beside the text labels of the same taxa, on the held-out images of these taxa."""
    found = []
    for sample in held_out:
        known = sample.where(known_to(prototypes, sample))
        if len(known):
            sets = {"prototypes": prototypes, **({"text": text} if text is not None else {})}
            found += [accuracy_of(labels, known, answers, device=device) for answers, labels in sets.items()]
    return found


def compare_joined(
    text: LabelSet, joined: LabelSet, held_out: Sequence[Sample], *, device: str = "cpu"
) -> list[Accuracy]:
    """Text alone, prototypes stacked upon it on its own scale, and joined: on held-out images of old and of new taxa.

    New taxa are those that have a prototype in the joined set, old ones all others of the text set.
    """
    is_prototype_N = _are_prototypes(joined)
    sets = {"text": text, "stacked": _stacked(text, joined), "joined": joined}
    found = []
    for sample in held_out:
        rows_N = matching_rows(joined, sample.taxa)
        is_new_N = (rows_N >= 0) & is_prototype_N[rows_N]
        for taxa, wanted_N in (("old", (rows_N >= 0) & ~is_new_N), ("new", is_new_N)):
            part = sample.where(wanted_N)
            if len(part):
                found += [accuracy_of(labels, part, answers, taxa, device=device) for answers, labels in sets.items()]
    return found


def _are_prototypes(labels: LabelSet) -> NDArray[np.bool_]:
    are_N = np.zeros(len(labels), dtype=bool)
    for block in labels.blocks:
        are_N[block.start : block.stop] = block.kind == "prototype"
    return are_N


def _stacked(text: LabelSet, joined: LabelSet) -> LabelSet:
    """The joined set without its fit: every row on the scale of text, as if a prototype were one more caption."""
    scales = {"scale": text.blocks[0].scale, "bias": text.blocks[0].bias}
    kinds = [{**kind, **scales} for kind in joined.manifest["kinds"]]
    return LabelSet(joined.table, joined.embeddings_ND, {**joined.manifest, "kinds": kinds}, folder=joined.folder)
