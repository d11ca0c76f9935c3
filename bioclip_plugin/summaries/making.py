"""All figures of a run from its sightings, and the counts of what is not in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_plugin.store import Review
from bioclip_plugin.summaries.activity import by_camera, by_date, by_hour
from bioclip_plugin.summaries.effort import CameraEffort, EffortTable, Stated, effort_of
from bioclip_plugin.summaries.options import FigureOptions
from bioclip_plugin.summaries.rates import rates_of, within_effort
from bioclip_plugin.summaries.reviewers import ReviewerAgreement, agreement_of_reviewers
from bioclip_plugin.summaries.richness import Accumulation, accumulation_of
from bioclip_plugin.summaries.sightings import (
    KINDS,
    TAXON,
    Events,
    Sightings,
    at_rank,
    different,
    independent_events,
)

_WORDS = {
    "above": "named above the rank {rank}",
    "unknown": "not named",
    "blank": "blank",
    "person": "person",
    "vehicle": "vehicle",
    "unclassified": "not classified",
    "unanswered": "without an answer (failed)",
}


class Figure(Protocol):
    """A figure as a table."""

    columns: Any
    """Names of its columns."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of its table."""


@dataclass(slots=True)
class Made:
    """The figures of a run."""

    figures: dict[str, Figure]
    """By name; a figure that cannot be made is absent and among ``absent``."""
    absent: dict[str, str]
    """Reasons why wanted figures could not be made."""
    lines: list[str]
    """What was counted, and what was not."""
    findings: Findings = field(default_factory=Findings)


def make_figures(
    sightings: Sightings,
    stated: Mapping[str, Stated],
    reviews: Iterable[Review],
    options: FigureOptions,
    findings: Findings,
) -> Made:
    """Make the wanted figures.

    Args:
        sightings: all regions of the run with their final names.
        stated: start and end of the deployments, by name.
        reviews: all reviews of the run's images and events, of which the newest of each reviewer count.
        options: the figures and how to count.
        findings: gets what is left out, with the first example.
    """
    ranked = at_rank(sightings, options.level)
    events = independent_events(ranked, options.gap_s)
    efforts = effort_of(sightings, stated, findings)
    made = Made({}, {}, [*_counted(ranked, events, efforts, options)], findings)
    wanted = set(options.wanted)
    if wanted & {"rates", "accumulation"}:
        _add_rates(made, within_effort(events, efforts, findings), efforts, options)
    for name, make in (("hours", lambda: by_hour(events)), ("dates", lambda: by_date(events, efforts))):
        if name in wanted:
            made.figures[name] = make()
    if "cameras" in wanted:
        made.figures["cameras"] = by_camera(events, efforts)
    if "effort" in wanted:
        made.figures["effort"] = EffortTable(
            sorted(efforts, key=lambda one: (not one.is_known, -one.days if one.is_known else 0))
        )
    if "reviewers" in wanted:
        _add_reviewers(made, agreement_of_reviewers(reviews))
    if not len(events.taxon_E):
        reason = f"no region is named at the rank {options.rank} or below"
        made.absent.update(dict.fromkeys(wanted & {"hours", "dates", "cameras"}, reason))
        for name in ("hours", "dates", "cameras"):
            made.figures.pop(name, None)
    return made


def _add_rates(made: Made, events: Events, efforts: list[CameraEffort], options: FigureOptions) -> None:
    wanted = options.wanted
    rates = rates_of(events, efforts)
    if rates is not None and "rates" in wanted:
        made.figures["rates"] = rates
    accumulation = (
        accumulation_of(events, efforts, options.permutations, options.seed) if "accumulation" in wanted else None
    )
    if accumulation is not None:
        made.figures["accumulation"] = accumulation
        made.figures["richness"] = accumulation.richness
        made.lines.append(_richness_line(accumulation, events))
    for name, found in (("rates", rates), ("accumulation", accumulation)):
        if name in wanted and found is None:
            made.absent[name] = (
                "no camera has a known effort" if rates is None else "no event lies within the effort of its camera"
            )


def _add_reviewers(made: Made, found: ReviewerAgreement) -> None:
    for text, count in found.skipped.items():
        made.findings.add(f"{text} (not in the agreement of reviewers)", count=count)
    if not found.pairs:
        made.absent["reviewers"] = "no image, box or event has reviews of two reviewers"
        return
    made.figures["reviewers"] = found
    made.figures["disagreements"] = found.disagreements
    alpha = f", Krippendorff's alpha {found.alpha:.2f}" if np.isfinite(found.alpha) else ""
    made.lines.append(
        f"Reviewers: {number_of(found.items, 'item')} of two or more, {found.equal} with equal answers{alpha}"
    )


def _counted(ranked: Sightings, events: Events, efforts: list[CameraEffort], options: FigureOptions) -> Iterator[str]:
    """Yield lines about what the figures count."""
    known = [one for one in efforts if one.is_known]
    days = sum(one.days for one in known)
    images = len(different(ranked.media_N))
    yield f"{number_of(images, 'image')}, {number_of(len(efforts), 'camera')}, {days:,.1f} camera-days of {number_of(len(known), 'camera')}"
    origins = {
        origin: sum(one.known_by == origin for one in efforts) for origin in sorted({one.known_by for one in efforts})
    }
    if origins:
        yield "Effort known by: " + ", ".join(f"{origin or 'nothing'} ({count})" for origin, count in origins.items())
    taxa = len(np.unique(events.taxon_E))
    named = int((ranked.kind_N == TAXON).sum())
    reviewed = int(((ranked.kind_N == TAXON) & ranked.reviewed_N).sum())
    yield (
        f"Counted: {number_of(len(events.taxon_E), 'independent event')} of {number_of(taxa, 'taxon', 'taxa')} in "
        f"{number_of(named, 'region')}, {reviewed} of them with a reviewer's name. {options.rule_of_events}"
    )
    counts = np.bincount(ranked.kind_N, minlength=len(KINDS)).tolist()
    others = [f"{count} {_WORDS[kind].format(rank=options.rank)}" for kind, count in zip(KINDS, counts, strict=True)
              if kind in _WORDS and count]  # fmt: skip
    if others:
        yield "Regions that are not counted as taxa: " + ", ".join(others)
    untimed, elsewhere = int((~events.is_timed).sum()), int((events.camera_E < 0).sum())
    if untimed:
        yield f"{number_of(untimed, 'event')} of unknown time: not in the figures by hour and by date"
    if elsewhere:
        yield f"{number_of(elsewhere, 'event')} of unknown cameras, whose images count as those of one camera"


def _richness_line(found: Accumulation, events: Events) -> str:
    once = np.bincount(events.taxon_E, minlength=len(events.taxa))[events.taxon_E] == 1
    unsure = int((once & ~events.reviewed_E).sum())
    shown = f"{found.chao1.value:.1f} ({found.chao1.ci95[0]:.1f} to {found.chao1.ci95[1]:.1f})"
    review = (
        f"; {number_of(unsure, 'taxon', 'taxa')} with a single event that nobody reviewed: a wrong name there raises it"
        if unsure
        else ""
    )
    return f"Taxa: {found.observed} observed, at least {shown} by Chao1{review}"
