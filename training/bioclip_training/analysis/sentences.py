"""Findings of an analysis in words: each says its number, its interval and chance, and whether anything follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.analysis.classes import Separation
from bioclip_training.analysis.measure import Measure, plural
from bioclip_training.analysis.measuring import Structure, TraitFindings
from bioclip_training.analysis.neighbours import beyond_of
from bioclip_training.analysis.within import MAIN

Outcomes = tuple[str, str, str]
"""What follows from a value above chance, below it, and one that is not told from it."""

_TREE: Outcomes = (
    "species are in the order of the tree",
    "species are in the opposite order",
    "order of the tree not told from chance",
)
_MISTAKES: Outcomes = (
    "wrong answers are more distant relatives than by chance",
    "wrong answers are nearer relatives than by chance",
    "wrong answers are not told from random ones",
)
_TRAIT: Outcomes = (
    "species alike in it are near each other",
    "species alike in it are far apart",
    "not told from chance",
)
NEIGHBOURS: Outcomes = (
    "more often than by chance",
    "less often than by chance",
    "not told from chance",
)
_PROBE: Outcomes = ("predicted better than by chance", "predicted worse than by chance", "not told from chance")
_OVERLAP: Outcomes = (
    "individuals vary along the differences between species",
    "individuals vary across the differences between species",
    "variation along the differences between species is not told from that along any direction",
)
_SPAN: Outcomes = ("more than chance", "less than chance", "not told from chance")
_CLASS: Outcomes = (
    "separates better outside of the main span",
    "separates better inside of the main span",
    "inside and outside of the main span not told apart",
)


def shown(value: float, *, as_share: bool = False) -> str:
    """Return a number with as many digits as an interval supports."""
    if value != value:
        return "–"
    text = f"{100 * value:.1f}%" if as_share else f"{value:.2f}"
    return text.removeprefix("-") if text in ("-0.00", "-0.0%") else text


def bounds(measure: Measure, *, as_share: bool = False) -> str:
    """Return "95% interval 0.21 to 0.35", or that there is none."""
    low, high = measure.ci95
    if low != low:
        return "no interval"
    return f"95% interval {shown(low, as_share=as_share)} to {shown(high, as_share=as_share)}"


def outcome_of(measure: Measure, outcomes: Outcomes) -> str:
    """Return what follows from a measure: it is above or below chance, or not told from it, or nothing follows."""
    differs = measure.differs_from_chance
    if differs is None:
        return measure.caution or "no conclusion: it has no chance level"
    return outcomes[0 if measure.value > measure.chance else 1] if differs else outcomes[2]


def rank_of(height: int) -> str:
    """Return the rank at which species meet at a height; "none" above the kingdom."""
    return RANKS[-1 - height].value if height < len(RANKS) else "none"


def findings_of(found: Structure) -> list[str]:
    """Return the sentences of all questions, in the order of the report."""
    return [
        _tree(found),
        *_neighbours(found),
        _mistakes(found),
        *_within(found),
        *(_separation(name, spans["main"]) for name, spans in found.classes.items()),
        *(line for name, trait in {**found.traits, **found.image_traits}.items() for line in _trait(name, trait)),
    ]


def _tree(found: Structure) -> str:
    order, rank = found.cophenetic.in_order, found.cophenetic.spearman
    if order.is_missing:
        return f"Tree: {order.reason}."
    return (
        f"Tree: {outcome_of(order, _TREE)}. Of two pairs of species that meet at different heights, the higher one is further apart in "
        f"{shown(order.value, as_share=True)} of cases ({bounds(order, as_share=True)}; chance 50%). Rank correlation {shown(rank.value)} "
        f"of at most {shown(rank.more['highest'])} ({bounds(rank)}; p = {rank.p:.3g})."
    )


def _neighbours(found: Structure) -> Iterator[str]:
    """Yield a sentence on the nearest species and one on the nearest images: the lowest rank, then those beyond the rank below."""
    for of, by_rank in found.purity.items():
        asked = [(rank, measure) for rank, measure in by_rank.items() if not measure.is_missing]
        if not asked:
            yield f"Nearest {of}: no rank has two clades of which one has several {of}, so there is nothing to find."
            continue
        lowest, plain = max(asked, key=lambda one: one[0].depth)
        parts = [f"of the same {lowest.value} {_purity(plain)}"]
        for rank, measure in sorted(asked, key=lambda one: -one[0].depth):
            below = RANKS[rank.depth + 1].value if rank is not RANKS[-1] else ""
            if rank is not lowest and not (stricter := beyond_of(measure)).is_missing:
                parts.append(f"beyond the own {below}, of the same {rank.value} {_purity(stricter)}")
        yield f"Nearest {of}: {'; '.join(parts)}."


def _purity(found: Measure) -> str:
    of, ends = shown(found.value, as_share=True), bounds(found, as_share=True)
    return f"{of} ({ends}; chance {shown(found.chance, as_share=True)}): {outcome_of(found, NEIGHBOURS)}"


def _mistakes(found: Structure) -> str:
    wrong = found.errors.mistakes
    if wrong.is_missing:
        return f"Mistakes: {wrong.reason}."
    return (
        f"Mistakes: {outcome_of(wrong, _MISTAKES)}. {wrong.n} of {found.errors.all.n} images have a wrong nearest species; it meets the "
        f"true one {shown(wrong.value)} ranks up on average ({bounds(wrong)}; a random wrong species {shown(wrong.chance)})."
    )


def _trait(name: str, found: TraitFindings) -> Iterator[str]:
    if found.reason:
        yield f"Trait {name}: {found.reason}."
    if (correlation := found.correlation) is not None:
        yield f"Trait {name}: " + (f"{correlation.reason}." if correlation.is_missing else _correlation(correlation))
    for rank, probe in found.probes.items():
        if not probe.is_missing:
            yield f"Trait {name}, {plural(rank.value)} held out: {_probe(probe)}"
    if lacking := [(plural(rank.value), probe.reason) for rank, probe in found.probes.items() if probe.is_missing]:
        # What cannot be held out with species cannot with genera and families either: the first reason is that of all.
        yield f"Trait {name}, {' and '.join(name for name, _ in lacking)} held out: {lacking[0][1]}."


def _correlation(found: Measure) -> str:
    low, high = found.more["beyond_tree_ci95"]
    beyond = f"95% interval {shown(low)} to {shown(high)}" if low == low else "no interval"
    within = (
        f", and among species of one {found.more['within']} p = {found.more['p_within']:.3g}"
        if found.more["within"]
        else ""
    )
    return (
        f"{outcome_of(found, _TRAIT)}. Rank correlation {shown(found.value)} ({bounds(found)}; p = {found.p:.3g}). With the tree held "
        f"{shown(found.more['beyond_tree'])} ({beyond}){within}."
    )


def _probe(found: Measure) -> str:
    is_share = found.more["kind"] == "categorical"
    of, ends = partial(shown, as_share=is_share), bounds(found, as_share=is_share)
    return (
        f"{outcome_of(found, _PROBE)}. {'Right for' if is_share else 'Rank correlation with the truth'} {of(found.value)} ({ends}; chance "
        f"{of(found.chance)}; by the nearest relatives alone {of(found.more['relatives'])})."
    )


def _within(found: Structure) -> Iterator[str]:
    overlap = found.within.overlap
    if overlap.is_missing:
        yield f"Within species: {overlap.reason}."
    else:
        yield (
            f"Within species: {outcome_of(overlap, _OVERLAP)}. Variation along the differences between species is {shown(overlap.value)} "
            f"times that along a random direction ({bounds(overlap)}; 0 is orthogonal), which is "
            f"{shown(overlap.more['relative'], as_share=True)} of what it would be if species differed as individuals do."
        )
    spans = (
        ("all species means", found.within.orthogonal),
        (f"the main directions ({MAIN:.0%} of the variance between species)", found.within.main_orthogonal),
    )
    for name, share in spans:
        if share.is_missing:
            yield f"Orthogonal to {name}: {share.reason}."
            continue
        random = f"{share.more['directions']:.0f} random directions of {share.more['dimension']}"
        yield (
            f"Orthogonal to {name}: {outcome_of(share, _SPAN)}. {shown(share.value, as_share=True)} of the variance within species "
            f"({bounds(share, as_share=True)}; outside of {random} {shown(share.chance, as_share=True)})."
        )


def _separation(name: str, found: Separation) -> str:
    if found.gain.is_missing:
        return f"Within species, {found.gain.reason}."
    outside, inside, share = found.outside, found.inside, found.outside_share
    return (
        f"Within species, {name}: {outcome_of(found.gain, _CLASS)}. Fisher ratio {shown(outside.value)} outside ({bounds(outside)}), "
        f"{shown(inside.value)} inside ({bounds(inside)}), {shown(found.whole.value)} in all (p = {found.whole.p:.3g}). "
        f"{shown(share.value, as_share=True)} of the difference lies outside, and {shown(share.chance, as_share=True)} of the rest."
    )


def unit_sentence(unit: Rank, count: int) -> str:
    """Return what the intervals take for independent, as a sentence."""
    return f"Intervals take {count} {plural(unit.value) if count != 1 else unit.value} for independent of each other."
