"""Prototypes of a catalog's images as a local label set, and their accuracy on held-out images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import captions_for_labels
from bioclip_core.classify import Classifier
from bioclip_core.encoder import Encoder
from bioclip_core.errors import SourceError
from bioclip_core.labels.joining import matching_rows
from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.progress import silent
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.catalog.rows import Catalog, drawn_in_turn, hashed_share
from bioclip_training.evaluation.features import FeatureBook, StageProgress
from bioclip_training.evaluation.scores import numbered
from bioclip_training.evaluation.truth import EXACT, truths_of
from bioclip_training.evaluation.zero_shot import LevelScores, score
from bioclip_training.evidence.intervals import difference_interval, share_interval

HELD_OUT = ("dev", "val")
"""Parts on which accuracy is measured, if a catalog has them and they share no image with the examples."""

MOST_HELD_OUT = 2000
"""Images per part; of more, the same ones are drawn every time. With 2,000 an accuracy is exact to two points."""


@dataclass(frozen=True, slots=True)
class Sample:
    """N images of one part of a catalog, with their features and taxa."""

    part: str
    features_ND: NDArray[np.float16]
    taxa: tuple[Taxon, ...]
    groups: tuple[str, ...] = ()
    """Group of each image: images of one group are not independent of each other."""
    rows: tuple[int, ...] = ()
    """Row of each image in its catalog."""

    def __len__(self) -> int:
        return len(self.taxa)

    def where(self, wanted_N: Iterable[bool]) -> Sample:
        """Return some of the images."""
        rows = np.flatnonzero(np.fromiter(wanted_N, dtype=bool, count=len(self)))
        return replace(
            self, features_ND=self.features_ND[rows], taxa=tuple(self.taxa[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
            rows=tuple(self.rows[row] for row in rows) if self.rows else (),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right best answers."""

    answers: str
    """Labels that answered: ``prototypes``, ``probe``, ``text``, ``stacked`` or ``joined``."""
    part: str
    taxa: str
    """Taxa of the images: ``all``, ``old`` or ``new``."""
    images: int
    label: float
    """Share with the right whole name, at whatever rank it is known."""
    genus: float | None = None
    """Share with the right genus, over the images that have one; None without such images."""
    groups: int = 0
    """Independent groups of the images."""
    label_ci95: tuple[float, float] | None = None
    """95% interval of ``label``, over groups; None for a single one."""
    right_N: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool), compare=False, repr=False)
    group_N: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64), compare=False, repr=False)
    """Answers and groups of the images, in their order, to compare two on the same ones."""


def sample_of(
    catalog: Catalog, part: str, book: FeatureBook, *, most: int | None = None, progress: StageProgress = silent
) -> Sample:
    """Encode the images of a part; an unreadable one is skipped and listed in the book's ``failures``.

    Args:
        catalog: an open catalog.
        part: as for :meth:`Catalog.rows_of`.
        book: encodes.
        most: largest number of images, drawn by the hash of their uri.
        progress: called with the stage, images done and images in all.

    Raises:
        SourceError: if no image could be read.
    """
    rows = catalog.rows_of(part)
    rows = rows[np.array([catalog.taxon(row).rank is not None for row in rows.tolist()], dtype=bool)]
    if most is not None and len(rows) > most:
        uris = catalog.column("uri")
        rows = np.sort(sorted(rows.tolist(), key=lambda row: (hashed_share(f"held out {uris[row]}"), row))[:most])
    return _encoded_sample(catalog, part, rows, book, progress)


def _encoded_sample(
    catalog: Catalog, part: str, rows: NDArray[np.int64], book: FeatureBook, progress: StageProgress
) -> Sample:
    book.encode(rows, f"Encoding {part}", progress)
    rows = rows[book.usable(rows)]
    return Sample(
        part,
        book.of(rows),
        tuple(catalog.taxon(row) for row in rows.tolist()),
        tuple(map(catalog.group, rows.tolist())),
        tuple(rows.tolist()),
    )


def examples_of(
    catalog: Catalog,
    split: str,
    book: FeatureBook,
    *,
    most_examples: int | None = None,
    progress: StageProgress = silent,
) -> Sample:
    """Return the images that prototypes or a probe are made from.

    Args:
        catalog: an open catalog.
        split: as for :meth:`Catalog.rows_of`.
        book: encodes.
        most_examples: largest number of images; of more, each taxon gives one in turn, in the order of their hashes.
        progress: called with the stage, images done and images in all.

    Raises:
        SourceError: if the part is without an image with a name, or none could be read.
    """
    rows = catalog.rows_of(split)
    rows = rows[np.array([catalog.taxon(row).rank is not None for row in rows.tolist()], dtype=bool)]
    if most_examples is not None and len(rows) > most_examples:
        rows = _drawn_evenly(catalog, rows, most_examples)
    examples = _encoded_sample(catalog, split, rows, book, progress)
    if not len(examples):
        there = ", ".join(sorted({word for word in catalog.column("split") if word})) or "none"
        raise SourceError(
            f"{catalog.name} has no usable image in {split!r}; its splits are: {there}. Choose one with --split; all takes every image"
        )
    return examples


def _drawn_evenly(catalog: Catalog, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most that many rows, of each taxon in turn, drawn by the hash of their keys."""
    share_R = np.array([hashed_share(f"example {catalog.key(row)}") for row in rows.tolist()])
    return rows[drawn_in_turn(catalog.taxon_of_N[rows], share_R, most)]


def held_out_of(catalog: Catalog, split: str, book: FeatureBook, *, progress: StageProgress = silent) -> list[Sample]:
    """Return the images of each part of ``HELD_OUT`` that shares none with the examples."""
    used = catalog.rows_of(split)
    parts = [part for part in HELD_OUT if len(rows := catalog.rows_of(part)) and not np.isin(rows, used).any()]
    samples = [sample_of(catalog, part, book, most=MOST_HELD_OUT, progress=progress) for part in parts]
    return [sample for sample in samples if len(sample)]


def text_labels(taxa: Iterable[Taxon], encoder: Encoder) -> LabelSet:
    """Return the taxonomic captions of distinct taxa as a label set in memory.

    Raises:
        NoTextTower: if the encoder is image-only.
    """
    distinct = list({taxon.lineage: taxon for taxon in taxa}.values())
    embeddings_ND = encoder.encode_texts([captions_for_labels(taxon)[0] for taxon in distinct])
    block = Block(0, len(distinct), "text", encoder.logit_scale, encoder.logit_bias)
    return in_memory(distinct, embeddings_ND, encoder.identity, [block])


def accuracy_of(labels: LabelSet, sample: Sample, answers: str, taxa: str = "all", *, device: str = "cpu") -> Accuracy:
    """Measure a label set's best answers to a sample of at least one image."""
    found, taxon_N, genus_level = scores_of(labels, sample, device=device), numbered(sample.taxa), Rank.GENUS.value
    right_N, genus_right_N = (found[level].place_N == 0 for level in (EXACT, genus_level))
    named_N = found[genus_level].counted(taxon_N)
    genus = float(genus_right_N[named_N].mean()) if named_N.any() else None
    group_N = numbered(sample.groups) if sample.groups else np.arange(len(sample))
    low, high = share_interval(right_N, group_N)
    return Accuracy(
        answers, sample.part, taxa, len(sample), float(right_N.mean()), genus, len(np.unique(group_N)),
        None if np.isnan(low) else (low, high), right_N, group_N,
    )  # fmt: skip


def standing_of(found: Sequence[Accuracy]) -> list[str]:
    """Say for each part whether the labels that were made, the first or the last ones, are better than the others there."""
    lines = []
    for part, taxa in dict.fromkeys((entry.part, entry.taxa) for entry in found):
        same = [entry for entry in found if (entry.part, entry.taxa) == (part, taxa)]
        made = next((entry for entry in same if entry.answers == "joined"), same[0])
        of = f"On {part}" if taxa == "all" else f"On {part}, {taxa} taxa"
        lines += [f"{of}: {_standing(made, other)}" for other in same if other is not made]
    return lines


def _standing(made: Accuracy, other: Accuracy) -> str:
    low, high = difference_interval(made.right_N.astype(np.float64) - other.right_N, made.group_N)
    better, worse = (other, made) if other.label > made.label else (made, other)
    shares = f"{better.label:.1%} against {worse.label:.1%}"
    if low > 0 or high < 0:
        advice = f"; classify with {other.answers} labels until there are more examples" if better is other else ""
        return f"{better.answers} is better than {worse.answers} by more than chance ({shares}){advice}."
    ahead = (
        f"{better.answers} is ahead, {shares}, which may be chance"
        if better.label > worse.label
        else "as many are right"
    )
    return f"{made.answers} and {other.answers} cannot be told apart ({ahead})."


def scores_of(labels: LabelSet, sample: Sample, *, device: str = "cpu") -> dict[str, LevelScores]:
    """Return a label set's answers to a sample of at least one image, for the exact taxon and for the genus."""
    taxon_N = numbered(sample.taxa)
    every = truths_of(list(dict.fromkeys(sample.taxa)), labels)
    truths = {level: every[level] for level in (EXACT, Rank.GENUS.value)}
    return score(Classifier(labels, device), sample.features_ND, taxon_N, truths, silent)


def compare_alone(sets: Mapping[str, LabelSet], held_out: Sequence[Sample], *, device: str = "cpu") -> list[Accuracy]:
    """Compare label sets of the same taxa, by their word, on the held-out images of the first one's taxa."""
    first = next(iter(sets.values()))
    known = [sample.where(matching_rows(first, sample.taxa) >= 0) for sample in held_out]
    return [
        accuracy_of(labels, sample, answers, device=device)
        for sample in known
        if len(sample)
        for answers, labels in sets.items()
    ]


def compare_joined(
    text: LabelSet, joined: LabelSet, held_out: Sequence[Sample], *, device: str = "cpu"
) -> list[Accuracy]:
    """Compare text alone, prototypes stacked upon it on its own scale, and joined, on held-out images of old and new taxa.

    New taxa are those with a prototype in the joined set, old ones all others of the text set.
    """
    is_prototype_N = np.zeros(len(joined), dtype=bool)
    for block in joined.blocks:
        is_prototype_N[block.start : block.stop] = block.kind == "prototype"
    # Stacked is the joined set without its fit: every row on the scale of text, as if a prototype were one more caption.
    scales = {"scale": text.blocks[0].scale, "bias": text.blocks[0].bias}
    manifest = {**joined.manifest, "kinds": [{**kind, **scales} for kind in joined.manifest["kinds"]]}
    stacked = LabelSet(joined.table, joined.embeddings_ND, manifest, folder=joined.folder)
    sets = {"text": text, "stacked": stacked, "joined": joined}
    found = []
    for sample in held_out:
        rows_N = matching_rows(joined, sample.taxa)
        is_new_N = (rows_N >= 0) & is_prototype_N[rows_N]
        for taxa, wanted_N in (("old", (rows_N >= 0) & ~is_new_N), ("new", is_new_N)):
            if len(part := sample.where(wanted_N)):
                found += [accuracy_of(labels, part, answers, taxa, device=device) for answers, labels in sets.items()]
    return found
