"""Rows of all sources merged: each image, region and shared occurrence has one label, and each other row a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.evidence import Standing
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.merging.deciding import Claim, Subject, decide, fits, is_finer, subjects_of
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.splits import is_training


class Fate(IntEnum):
    """What became of a row."""

    KEPT = 0
    REPEATED = 1
    """Another row of the same region stays, and says the same or more."""
    OVERRULED = 2
    """Another row of the same region stays with another label."""
    OF_BOXES = 3
    """A row of a whole image whose boxes stay."""
    WITHDRAWN = 4
    """A review says that the image shows no taxon of the collection."""
    VERDICT = 5
    """A review that says so."""
    UNDECIDED = 6
    """Its label contradicts another one, and neither comes before the other."""
    MISSING = 7
    """Its file is gone, and no other source has a copy."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Decisions on all rows."""

    fate_of_N: NDArray[np.uint8]
    by_of_N: NDArray[np.int64]
    """The row that stays or contradicts; the row itself if there is none."""
    label_of_N: NDArray[np.int64]
    """The row whose label a row has."""
    split_of_N: NDArray[np.int64]
    """Place of each row's own split in the ledger's words: a kept row has that of all rows of its region."""
    undecided_images: int
    """Images with a row that was left out because of contradictory labels."""
    is_between_sources: bool
    """True if a preferred source would decide on some of these."""
    loose_occurrences: int
    """Occurrence ids of plain numbers in several sources without a common image, which were not taken for the same."""

    @property
    def kept_N(self) -> NDArray[np.bool_]:  # noqa: N802
        return np.asarray(self.fate_of_N == Fate.KEPT)


class _Merger:
    """Decisions that grow image by image, then by occurrence."""

    def __init__(self, ledger: Ledger, options: BuildOptions) -> None:
        count = len(ledger)
        self._ledger, self._keep_sides = ledger, options.keep_duplicates
        self._taxon_of_N, self._source_of_N, self._said = ledger.taxon_numbers, ledger.source_numbers, ledger.said
        names = sorted(ledger.sources)
        self._preferred = [options.prefer.index(name) if name in options.prefer else len(names) for name in names]
        self.trained = [is_training(word) for word in ledger.splits]
        self.words = list(ledger.splits)
        self.split_of_N = ledger.split_numbers
        self.fate_of_N = np.where(self._said["missing"] > 0, Fate.MISSING, Fate.KEPT).astype(np.uint8)
        self.fate_of_N[self._said["verdict"] > 0] = Fate.VERDICT
        self.by_of_N, self.label_of_N = np.arange(count), np.arange(count)
        self.is_between_sources = False

    def claims(self, rows: NDArray[np.int64], *, boxed: bool) -> list[Claim]:
        said = self._said[rows].tolist()
        boxes = self._ledger.boxes(rows) if boxed else [None] * len(rows)
        return [
            Claim(
                row,
                source,
                self._preferred[source],
                standing,
                first,
                last,
                verdict,
                self._ledger.taxa[taxon],
                box,
                bool(missing),
            )
            for row, source, taxon, (standing, first, last, _, verdict, missing), box in zip(
                rows.tolist(),
                self._source_of_N[rows].tolist(),
                self._taxon_of_N[rows].tolist(),
                said,
                boxes,
                strict=True,
            )
        ]

    def settle(self, subject: Subject) -> None:
        """Record what becomes of the rows of one region."""
        winner, rows = subject.winner, [claim for claim in subject.claims if not claim.verdict]
        if winner is None:
            self._leave_out(subject.claims)
        elif winner.verdict:
            for claim in rows:
                self._lose(claim, Fate.WITHDRAWN, winner.row)
        elif subject.box is not None:
            for claim in rows:
                self._lose(claim, Fate.OF_BOXES if fits(claim, winner) else Fate.OVERRULED, subject.box.row)
        elif there := [claim for claim in rows if not claim.is_missing]:
            self._keep(subject.claims, there, winner)

    def _leave_out(self, claims: Sequence[Claim]) -> None:
        strongest = max(claim.standing for claim in claims)
        self.is_between_sources |= len({claim.source for claim in claims if claim.standing == strongest}) > 1
        for claim in claims:
            other = next((one for one in claims if one is not claim and not fits(one, claim)), claim)
            self._lose(claim, Fate.VERDICT if claim.verdict else Fate.UNDECIDED, other.row)

    def _keep(self, claims: Sequence[Claim], rows: Sequence[Claim], winner: Claim) -> None:
        """Keep the best row of a region, of those with a file, with the label of the winner and the split of all rows."""
        given = {int(self.split_of_N[claim.row]) for claim in rows} - {0}
        split = min(given, key=lambda one: (self.trained[one], self.words[one]), default=0)
        sides = given if self._keep_sides and len(given) > 1 else {split}
        kept: dict[int, Claim] = {}
        for side in sides:
            there = [claim for claim in rows if self.split_of_N[claim.row] == side] or rows
            # A table knows more of an image than a review: its licence, its id, its group.
            kept[side] = min(
                there, key=lambda claim: (claim.box is None, claim.standing >= Standing.EVENT_REVIEW, claim.place)
            )
        stays = kept[split]
        for claim in claims:
            if claim in kept.values():
                continue
            if claim.verdict:
                self._lose(claim, Fate.VERDICT, stays.row)
            else:
                agrees = fits(claim, winner) and not is_finer(claim, winner)
                self._lose(claim, Fate.REPEATED if agrees else Fate.OVERRULED, stays.row)
        for side, claim in kept.items():
            self.label_of_N[claim.row], self.split_of_N[claim.row] = winner.row, side

    def _lose(self, claim: Claim, fate: Fate, by: int) -> None:
        self.fate_of_N[claim.row], self.by_of_N[claim.row] = fate, by

    def settle_occurrence(self, kept: NDArray[np.int64]) -> None:
        """Give the rows of one occurrence, which stay so far, one label.

        A source that itself gives them contradictory labels uses the id for something else, so that they stay as they are.
        """
        labels = self.claims(np.unique(self.label_of_N[kept]), boxed=False)
        of_source: dict[int, dict[tuple[str, ...], Claim]] = {}
        for claim in labels:
            of_source.setdefault(claim.source, {}).setdefault(claim.taxon.lineage, claim)
        if any(not fits(one, other) for own in of_source.values() for one, other in combinations(own.values(), 2)):
            return
        winner = decide(labels)
        if winner is not None:
            self.label_of_N[kept] = winner.row
            return
        self.is_between_sources = True
        own_label = {claim.row: claim for claim in labels}
        distinct = {claim.taxon.lineage: claim for claim in labels}.values()
        for row in kept.tolist():
            own = own_label[int(self.label_of_N[row])]
            rival = next((one.row for one in distinct if not fits(one, own)), labels[0].row)
            self.fate_of_N[row], self.by_of_N[row] = Fate.UNDECIDED, rival

    def follow(self) -> None:
        """Name the rows that stay, not others that yield to them, and leave out what repeats a row that was left out afterwards."""
        bound = np.isin(self.fate_of_N, (Fate.REPEATED, Fate.OVERRULED, Fate.OF_BOXES))
        further = bound & bound[self.by_of_N]
        self.by_of_N[further] = self.by_of_N[self.by_of_N[further]]
        gone = bound & (self.fate_of_N[self.by_of_N] == Fate.UNDECIDED)
        self.by_of_N[gone] = self.by_of_N[self.by_of_N[gone]]
        self.fate_of_N[gone] = Fate.UNDECIDED


def merged(ledger: Ledger, options: BuildOptions) -> Merged:
    """Decide on the label of each image and region, then on those of the images of one occurrence."""
    merger = _Merger(ledger, options)
    image_of_N = ledger.image_numbers()
    for rows in _together(image_of_N, np.arange(len(ledger))):
        for subject in subjects_of(merger.claims(rows, boxed=True)):
            merger.settle(subject)
    loose = _settle_occurrences(ledger, merger, image_of_N)
    undecided = len(np.unique(image_of_N[merger.fate_of_N == Fate.UNDECIDED]))
    return Merged(
        merger.fate_of_N, merger.by_of_N, merger.label_of_N, merger.split_of_N, undecided, merger.is_between_sources, loose
    )  # fmt: skip


def _together(number_of_N: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each number that several rows have, ascending."""
    rows = rows[np.argsort(number_of_N[rows], kind="stable")]
    ordered = number_of_N[rows]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else rows
    ends = np.append(starts[1:], len(rows))
    for start, end in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        yield rows[start:end]


def _settle_occurrences(ledger: Ledger, merger: _Merger, image_of_N: NDArray[np.int64]) -> int:
    """Give the images of one occurrence one label, if several sources state its id.

    Returns:
        The number of ids that are plain numbers and have contradictory labels in sources without a common image: these may
        use them for different things, so they are not taken for the same.
    """
    occurrence_of_N, source_of_N, taxon_of_N = ledger.occurrence_numbers, ledger.source_numbers, ledger.taxon_numbers
    loose = 0
    for rows in _together(occurrence_of_N, np.flatnonzero(occurrence_of_N)):
        if len(set(source_of_N[rows].tolist())) < 2:
            continue
        stays = np.unique(merger.by_of_N[rows])  # a kept row names itself
        kept = stays[merger.fate_of_N[stays] == Fate.KEPT]
        if len(np.unique(taxon_of_N[merger.label_of_N[kept]])) < 2:
            continue
        if occurrence_of_N[rows[0]] < 0 and not _share_an_image(image_of_N[rows], source_of_N[rows]):
            loose += 1
        else:
            merger.settle_occurrence(kept)
    merger.follow()
    return loose


def _share_an_image(images: NDArray[np.int64], sources: NDArray[np.int64]) -> bool:
    """Return True if two sources have one image under this id."""
    pairs = np.unique(np.stack([images, sources]), axis=1)
    return bool(np.any(np.unique(pairs[0], return_counts=True)[1] > 1))
