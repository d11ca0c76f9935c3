"""Figures of two models for the same images: their differences, with intervals over the same units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bioclip_training.analysis.classes import RATIOS
from bioclip_training.analysis.measure import Hits, Measure, Replicates, missing
from bioclip_training.analysis.measuring import Structure, TraitFindings
from bioclip_training.analysis.neighbours import BEYOND, beyond_of
from bioclip_training.analysis.resampling import difference_spread
from bioclip_training.analysis.traits import BEYOND_TREE
from bioclip_training.analysis.within import relative
from bioclip_training.evidence.intervals import difference_interval
from bioclip_training.evidence.minima import effective_groups


def figures_of(found: Structure) -> dict[str, Measure]:
    """Return the measures of a structure that two models can be compared by, by what they are called."""
    named = {
        "share of comparisons in order": found.cophenetic.in_order,
        "rank correlation with the tree": found.cophenetic.spearman,
        "height of mistakes": found.errors.mistakes,
        "height of all answers": found.errors.all,
        "orthogonal to all species means": found.within.orthogonal,
        "orthogonal to the main directions": found.within.main_orthogonal,
        "overlap, relative to the same shape": relative(found.within.overlap),
        **dict(_neighbours(found)),
    }
    for name, trait in {**found.traits, **found.image_traits}.items():
        named |= _of_trait(name, trait)
    for name, spans in found.classes.items():
        named |= {f"{name}, Fisher ratio: {of.replace('_', ' ')}": getattr(spans["main"], of) for of in RATIOS}
    return named


def _neighbours(found: Structure) -> Iterator[tuple[str, Measure]]:
    for of, by_rank in found.purity.items():
        for rank, measure in by_rank.items():
            yield f"neighbours of {of} in the same {rank.value}", measure
            if measure.more.get("beyond_n"):
                yield f"neighbours of {of} in the same {rank.value}, {BEYOND} the rank below", beyond_of(measure)


def _of_trait(name: str, found: TraitFindings) -> dict[str, Measure]:
    named = {}
    if (plain := found.correlation) is not None and not plain.is_missing:
        low, high = plain.more["beyond_tree_ci95"]
        held = plain.samples.get(BEYOND_TREE)
        samples = {"": held} if held is not None else {}
        named[f"{name}: correlation"] = plain
        named[f"{name}: correlation with the tree held"] = replace(
            plain, value=plain.more[BEYOND_TREE], ci95=(low, high), more={}, samples=samples
        )
    return named | {f"{name}: predicted, {rank.value} held out": probe for rank, probe in found.probes.items()}


def difference(first: Measure, second: Measure) -> Measure:
    """Return a figure of one model minus that of another for the same images; chance is 0.

    Means of hits are compared image by image (or species by species), all other figures block by block of the jackknife, with the
    same units left out of both, so that what the units have in common cancels.
    """
    about: dict[str, Any] = {"n": first.n, "of": first.of, "unit": first.unit}
    if reason := first.reason if first.is_missing else second.reason if second.is_missing else "":
        return missing(reason, **about)
    value, (one, other) = first.value - second.value, (first.samples.get(""), second.samples.get(""))
    if isinstance(one, Hits) and isinstance(other, Hits) and _are_paired(one, other):
        counted_P = np.isfinite(one.values_P)
        low, high = difference_interval(one.values_P - other.values_P, one.unit_P, one.weights_P)
        units = effective_groups(one.unit_P[counted_P].tolist())
        return Measure(value, (low * one.reach, high * one.reach), 0.0, units=units, **about)
    if isinstance(one, Replicates) and isinstance(other, Replicates) and np.array_equal(one.unit_P, other.unit_P):
        spread = difference_spread(one, other)
        return Measure(value, spread.ci95, 0.0, units=min(first.units, second.units), reason=spread.reason, **about)
    why = first.reason or second.reason or "the two models do not have this figure for the same species or images"
    return Measure(value, chance=0.0, reason=why, **about)


def _are_paired(one: Hits, other: Hits) -> bool:
    same = np.array_equal(one.unit_P, other.unit_P)
    return same and np.array_equal(np.isfinite(one.values_P), np.isfinite(other.values_P))


def differences_of(found: Structure, other: Structure) -> dict[str, Measure]:
    """Return the difference of each figure that both have."""
    theirs = figures_of(other)
    return {name: difference(own, theirs[name]) for name, own in figures_of(found).items() if name in theirs}


def summary(name: str, differences: Mapping[str, Measure]) -> str:
    """Return what the differences to another model show, as a sentence."""
    able = {text: one for text, one in differences.items() if one.differs_from_chance is not None}
    told = [f"{text} {one.value:+.2f}" for text, one in able.items() if one.differs_from_chance]
    if not able:
        return f"Beside {name}: no difference can be told, since no figure has enough independent units."
    return (
        f"Beside {name}: {len(told)} of {len(able)} differences exclude zero ({'; '.join(told) or 'none'}). If nothing differed, about "
        f"{0.05 * len(able):.1f} would by chance."
    )
