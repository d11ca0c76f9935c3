"""Agreement of a run with reviews: per taxon, in total with intervals, and its disagreements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LABEL
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.reviews.names import same_at, same_words, shared_rank
from bioclip_plugin.reviews.pairing import Pair
from bioclip_training.evaluation.scores import macro_mean, numbered
from bioclip_training.evidence.intervals import Interval, macro_interval, share_intervals

MEASURES = ("agree", "agree_or_higher", "genus", "family", "top1", "top5")
"""Shares of the reviews that name a taxon: the decision is that taxon (or below it); that, or a taxon above it; the decision has
its genus; its family; the model's best candidate is it; one of its five best is."""
WITHOUT_TAXON = ("blank", "person", "vehicle")
_TOP = 5
_NAN = float("nan")


@dataclass(slots=True)
class TaxonFigures:
    """Counts of the reviews that name one taxon."""

    taxon: Taxon
    n: int = 0
    agree: int = 0
    higher: int = 0
    """Decisions on a taxon above it: right, and less specific than the review."""
    genus: int = 0
    family: int = 0
    top1: int = 0
    top5: int = 0
    answered: int = 0
    """Reviewed subjects of any kind that the run decided to be this taxon or below it."""

    @property
    def rank(self) -> str:
        return LABEL if self.taxon.words else str(self.taxon.rank or "")

    @property
    def precision(self) -> float:
        return _ratio(self.agree, self.answered)

    @property
    def recall(self) -> float:
        return _ratio(self.agree, self.n)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.taxon.name, "rank": self.rank, "n": self.n,
            "agree": self.agree, "higher": self.higher, "agree_at_genus": self.genus, "agree_at_family": self.family,
            "top1": self.top1, "top5": self.top5, "answered": self.answered, "precision": _json_number(self.precision),
            "recall": _json_number(self.recall),
        }  # fmt: skip


@dataclass(slots=True)
class Total:
    """A share of all reviews that name a taxon, with its 95% interval over independent events."""

    share: float
    ci95: Interval
    """NaN if all reviews are of one event."""
    n: int
    groups: int
    """Number of events, which are independent of each other; the images of one are not."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "share": _json_number(self.share), "ci95": [_json_number(end) for end in self.ci95],
            "n": self.n, "groups": self.groups,
        }  # fmt: skip


@dataclass(slots=True)
class Agreement:
    """The figures of one run."""

    reviewed: int
    taxa: list[TaxonFigures]
    """Most reviewed first."""
    totals: dict[str, Total]
    """By measure, over reviews; ``macro`` is the mean of the taxa's shares of agreement."""
    verdicts: dict[str, dict[str, int]]
    """Counts by the review's verdict and the kind of answer."""
    confusions: list[tuple[str, str, int]]
    """Reviewed as, decided as, count; without decisions above the reviewed taxon."""
    left_out: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "reviewed": self.reviewed, "totals": {name: total.as_dict() for name, total in self.totals.items()},
            "taxa": [figures.as_dict() for figures in self.taxa], "verdicts": self.verdicts,
            "confusions": [{"reviewed": one, "decided": other, "n": n} for one, other, n in self.confusions],
            "left_out": self.left_out,
        }  # fmt: skip


def agreement_of(pairs: Iterable[Pair]) -> Agreement:
    """Return the agreement of reviews and decisions."""
    figures: dict[str, TaxonFigures] = {}
    verdicts: dict[str, Counter[str]] = {}
    confusions: Counter[tuple[str, str]] = Counter()
    decided: Counter[Taxon] = Counter()
    hits: list[tuple[str, str, tuple[float, ...]]] = []  # of each review that names a taxon: name, group, measures
    for pair in pairs:
        verdicts.setdefault(pair.verdict, Counter())[pair.answer] += 1
        if pair.decided is not None:
            decided[pair.decided.taxon] += 1
        if pair.taxon is not None:
            name = pair.taxon.name
            found = measured(pair.taxon, pair)
            _count(figures.setdefault(name, TaxonFigures(pair.taxon)), found)
            hits.append((name, pair.group, found))
            if not found[1]:
                confusions[name, pair.decided.name if pair.decided else pair.answer] += 1
        elif pair.decided is not None and pair.verdict in WITHOUT_TAXON:
            confusions[pair.verdict, pair.decided.name] += 1
    _count_answered(figures.values(), decided)
    ordered = sorted(figures.values(), key=lambda one: (-one.n, one.taxon.name))
    listed = sorted(((*pair, n) for pair, n in confusions.items()), key=lambda row: (-row[2], row[0], row[1]))
    counts = {verdict: dict(sorted(answers.items())) for verdict, answers in sorted(verdicts.items())}
    return Agreement(
        sum(answers.total() for answers in verdicts.values()),
        ordered,
        _totals(*zip(*hits, strict=True)) if hits else {},
        counts,
        listed,
    )


def measured(taxon: Taxon, pair: Pair) -> tuple[float, ...]:
    """Return 1 or 0 for each of the MEASURES; NaN if the reviewed taxon lacks the rank."""
    answer = pair.decided.taxon if pair.decided else Taxon()
    agree = is_within(answer, taxon)
    top = [is_within(candidate.taxon, taxon) for candidate in pair.candidates[:_TOP]]
    at = [
        float(same_at(rank, answer, taxon)) if taxon.lineage[rank.depth] else _NAN for rank in (Rank.GENUS, Rank.FAMILY)
    ]
    return float(agree), float(agree or is_above(answer, taxon)), *at, float(any(top[:1])), float(any(top))


def is_within(one: Taxon, other: Taxon) -> bool:
    """Return True if a taxon is another or below it, as far as names tell; a label without a taxonomy is only itself."""
    if one.words or other.words:
        return same_words(one, other)
    return other.rank is not None and same_at(other.rank, one, other)


def is_above(one: Taxon, other: Taxon) -> bool:
    """Return True if a taxon is a higher one that another belongs to; ranks that only one of them names do not count."""
    rank = one.rank
    return (
        rank is not None and not is_within(one, other) and same_at(rank, one, other) and shared_rank(one, other) is rank
    )


def _count(figures: TaxonFigures, found: Sequence[float]) -> None:
    agree, or_higher, genus, family, top1, top5 = (value == 1.0 for value in found)
    figures.n += 1
    figures.agree += agree
    figures.higher += or_higher and not agree
    figures.genus += genus
    figures.family += family
    figures.top1 += top1
    figures.top5 += top5


def _count_answered(figures: Iterable[TaxonFigures], decided: Counter[Taxon]) -> None:
    """Count the decisions on each taxon, or one below it."""
    at: dict[tuple[Rank, str], Counter[Taxon]] = {}
    labels = [taxon for taxon in decided if taxon.words]
    for taxon, n in decided.items():
        for rank in RANKS:
            if taxon.lineage[rank.depth]:
                at.setdefault((rank, taxon.name_at(rank).lower()), Counter())[taxon] += n
    for one in figures:
        one.answered = sum(
            decided[taxon] for taxon in (decided if one.taxon.words else labels) if is_within(taxon, one.taxon)
        )
        if (own := one.taxon.rank) is not None and not one.taxon.words:
            named = at.get((own, one.taxon.name_at(own).lower()), Counter())
            one.answered += sum(n for taxon, n in named.items() if same_at(own, taxon, one.taxon) and not taxon.words)


def _totals(names: Sequence[str], groups: Sequence[str], hits: Sequence[tuple[float, ...]]) -> dict[str, Total]:
    hits_NM: NDArray[np.float64] = np.array(hits, dtype=np.float64)
    groups_N, taxa_N = numbered(groups), numbered(names)
    totals = {}
    for measure, column_N, interval in zip(MEASURES, hits_NM.T, share_intervals(hits_NM, groups_N), strict=True):
        is_counted_N = np.isfinite(column_N)
        counted_N, events = column_N[is_counted_N], len(np.unique(groups_N[is_counted_N]))
        totals[measure] = Total(float(counted_N.mean()) if len(counted_N) else _NAN, interval, len(counted_N), events)
    agree_N = hits_NM[:, 0]
    totals["macro"] = Total(
        macro_mean(agree_N, taxa_N), macro_interval(agree_N, taxa_N, groups_N), len(set(names)), len(set(groups))
    )
    return totals


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else _NAN


def _json_number(value: float) -> float | None:
    return None if value != value else round(value, 6)


COLUMNS = (
    "name", "rank", "n", "agree", "higher", "agree_at_genus", "agree_at_family", "top1", "top5", "answered", "precision", "recall",
)  # fmt: skip
"""Columns of the table of taxa."""


def verdict_rows(agreement: Agreement) -> list[dict[str, Any]]:
    """Return rows like those of the taxa for the verdicts without a taxon: blank, person, vehicle."""
    rows = []
    for verdict in WITHOUT_TAXON:
        answers = agreement.verdicts.get(verdict, {})
        n, agree = sum(answers.values()), answers.get(verdict, 0)
        answered = sum(counts.get(verdict, 0) for counts in agreement.verdicts.values())
        if n or answered:
            shares = {"precision": _json_number(_ratio(agree, answered)), "recall": _json_number(_ratio(agree, n))}
            rows.append({"name": verdict, "n": n, "agree": agree, "answered": answered, **shares})
    return rows
