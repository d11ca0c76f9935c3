"""One decision per image: which of several statements about an image, a region or an occurrence gives its label.

The statement with the highest standing counts (:class:`~bioclip_training.catalog.evidence.Standing`), of several the newest,
of several of one time those of the preferred source. If these contradict each other, nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bioclip_core.images.boxes import ABOUT, SAME, Box, overlapping
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.evidence import Standing
from bioclip_training.catalog.ledger import compatible


@dataclass(frozen=True, slots=True)
class Claim:
    """A row's statement about a region: a taxon, or a review's verdict that is none."""

    row: int
    source: int
    """Place of the source in the alphabetical order of the names."""
    preferred: int
    """Place of the source among the preferred ones, from 0; those that are not come behind."""
    standing: int
    first: int
    last: int
    verdict: int
    """Number of a verdict that is not a taxon; 0 for a taxon."""
    taxon: Taxon
    box: Box | None = None
    is_missing: bool = False
    """True for an image without a file."""

    @property
    def place(self) -> tuple[int, ...]:
        """Sort key: the strongest and newest first, equal ones by their source's name, whatever the order of the sources."""
        return (-self.standing, -self.last, self.preferred, self.source, self.row)


@dataclass(frozen=True, slots=True)
class Subject:
    """Statements about one thing, strongest first, and the one that counts."""

    claims: Sequence[Claim]
    winner: Claim | None
    """None if the strongest contradict each other."""
    box: Claim | None = None
    """For statements about a whole image whose boxes have the labels, so that none of them is a row: one about such a box."""


def decide(claims: Sequence[Claim]) -> Claim | None:
    """Return the statement that counts, None if the strongest ones contradict each other.

    A review or an identification that stops above the species is a decision, and counts as it is. A catalogue's or a folder's
    name takes the more specific name of a weaker source that fits it.
    """
    strongest = max(claim.standing for claim in claims)
    best = [claim for claim in claims if claim.standing == strongest]
    newest_first = max(claim.first for claim in best)
    newest = [claim for claim in best if claim.last >= newest_first]
    preferred = min(claim.preferred for claim in newest)
    winner = _agreed(newest) or _agreed([claim for claim in newest if claim.preferred == preferred])
    if winner is None or winner.verdict or Standing(winner.standing).is_deliberate:
        return winner
    finer = [claim for claim in claims if not claim.verdict and is_finer(claim, winner)]
    return (_agreed(finer) or winner) if finer else winner


def _agreed(claims: Sequence[Claim]) -> Claim | None:
    """Return the most specific of statements that can all be true; None if they contradict each other."""
    ordered = sorted(claims, key=lambda claim: claim.place)
    if any(claim.verdict for claim in ordered):
        return ordered[0] if all(claim.verdict for claim in ordered) else None
    taxa = {claim.taxon.lineage: claim.taxon for claim in ordered}
    if len(taxa) > 1 and not all(compatible(one, other) for one, other in combinations(taxa.values(), 2)):
        return None
    best = max(taxa, key=lambda lineage: (_depth(taxa[lineage]), sum(map(bool, lineage)), lineage))
    return next(claim for claim in ordered if claim.taxon.lineage == best)


def is_finer(claim: Claim, other: Claim) -> bool:
    """Return True if a statement fits another and is more specific."""
    return _depth(claim.taxon) > _depth(other.taxon) and compatible(claim.taxon, other.taxon)


def fits(claim: Claim, other: Claim) -> bool:
    """Return True if two statements can both be true."""
    return not claim.verdict and not other.verdict and compatible(claim.taxon, other.taxon)


def _depth(taxon: Taxon) -> int:
    return -1 if taxon.rank is None else taxon.rank.depth


def subjects_of(claims: Sequence[Claim]) -> list[Subject]:
    """Return the regions of one image with their decisions.

    Boxes that overlap are one region (:func:`regions_of`). A statement about the whole image is about its box if there is only
    one. With several boxes, a verdict that is not a taxon is about each of them, and a taxon about those that it fits; if it
    fits none, it counts for all of them if it is the stronger one and they are of one taxon, else it contradicts them.
    """
    whole, regions = [claim for claim in claims if claim.box is None], regions_of(claims)
    if not whole:
        return [_subject(region) for region in regions]
    if len(regions) < 2:
        return [_subject(claims)]
    said = decide(whole)
    if said is None:
        strongest = max(claim.standing for claim in whole)
        own = [_subject(region) for region in regions]
        weaker = [one for one in own if one.claims[0].standing < strongest]
        return [
            *(one for one in own if one not in weaker),
            Subject([*_ordered(whole), *(claim for one in weaker for claim in one.claims)], None),
        ]
    if said.verdict:
        return _with_verdict(whole, said, regions)
    return _with_taxon(whole, said, regions)


def _with_verdict(whole: Sequence[Claim], said: Claim, regions: Sequence[Sequence[Claim]]) -> list[Subject]:
    """Return the decisions on several boxes if the review of the image says that it shows no taxon of the collection."""
    boxes = [Subject(_ordered(region), decide([*region, said])) for region in regions]
    return [Subject(_ordered(whole), said), *boxes]


def _with_taxon(whole: Sequence[Claim], said: Claim, regions: Sequence[Sequence[Claim]]) -> list[Subject]:
    """Return the decisions on several boxes if a statement names one taxon for the whole image."""
    own = [_subject(region) for region in regions]
    labelled = [one for one in own if one.winner is None or not one.winner.verdict]
    if not labelled:  # every box was a false alarm
        return [*own, Subject(_ordered(whole), decide([*whole, *(claim for one in own for claim in one.claims)]))]
    fitting = [one.winner for one in labelled if one.winner is not None and fits(one.winner, said)]
    if fitting:
        joined = [Subject(one.claims, decide([*one.claims, said])) if one.winner in fitting else one for one in own]
        return [*joined, Subject(_ordered(whole), said, min(fitting, key=lambda claim: claim.place))]
    claims = _ordered([claim for one in labelled for claim in one.claims])
    winner = decide([*claims, *whole])
    others = [one for one in own if one not in labelled]
    taxa = [one.winner for one in labelled if one.winner is not None]
    if winner is None or (winner in whole and not all(fits(one, other) for one, other in combinations(taxa, 2))):
        return [*others, Subject(_ordered([*whole, *claims]), None)]
    if winner in whole:
        return [
            *others,
            *(Subject(one.claims, winner) for one in labelled),
            Subject(_ordered(whole), winner, claims[0]),
        ]
    return [*own, Subject(_ordered(whole), winner, winner)]


def _subject(claims: Sequence[Claim]) -> Subject:
    return Subject(_ordered(claims), claims[0] if len(claims) == 1 else decide(claims))


def _ordered(claims: Sequence[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: claim.place)


def regions_of(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Return the statements about boxes, by region.

    Boxes that overlap by 95% are one region. Of different sources, those are one that overlap each other most, by half at
    least; two boxes of one source stay apart.
    """
    by_box: dict[Box, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: (claim.box or (), claim.source, claim.row)):
        if claim.box is not None:
            by_box.setdefault(claim.box, []).append(claim)
    if len(by_box) < 2:
        return list(by_box.values())
    regions = [(members, {claim.source for claim in members}) for members in by_box.values()]
    root = list(range(len(regions)))
    for less, i, j in sorted((-shared, i, j) for i, j, shared in overlapping(list(by_box), ABOUT)):
        one, other = _root(root, i), _root(root, j)
        if one == other or (-less < SAME and regions[one][1] & regions[other][1]):
            continue
        root[other] = one
        regions[one] = ([*regions[one][0], *regions[other][0]], regions[one][1] | regions[other][1])
    return [regions[at][0] for at in range(len(regions)) if root[at] == at]


def _root(root: list[int], at: int) -> int:
    while root[at] != at:
        at = root[at]
    return at
