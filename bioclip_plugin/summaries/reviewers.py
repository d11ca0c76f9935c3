"""Agreement of reviewers with each other, on what two or more of them reviewed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.reviews.agreement import is_above, is_within
from bioclip_plugin.reviews.in_force import in_force, reviewer_key, subject_of
from bioclip_plugin.store import Review
from bioclip_plugin.summaries.effort import number
from bioclip_training.evidence.intervals import Interval, binomial_interval

SEVERAL = "reviews that name several taxa at once"
ANONYMOUS = "reviews without a reviewer's name"
ALONE = "images, boxes and events that one reviewer reviewed"
Label = tuple[ReviewVerdict, Taxon | None]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two reviewers on the items that both reviewed."""

    reviewers: tuple[str, str]
    items: int
    equal: int
    """Items with one verdict and one taxon."""
    compatible: int
    """Those, and items where one names a taxon above the other's."""
    kappa: float
    """Cohen's (1960), on equal answers; NaN if both gave one answer to all items."""
    share_ci95: Interval
    """Of the share of equal items."""


@dataclass(frozen=True, slots=True)
class ReviewerAgreement:
    """Agreement of all reviewers of a run."""

    pairs: tuple[PairAgreement, ...]
    """Most shared items first."""
    items: int
    """Images, boxes and events that at least two reviewers reviewed."""
    equal: int
    """Items on which all their reviewers gave one answer."""
    alpha: float
    """Krippendorff's, for nominal data and any number of reviewers per item; NaN if all answers are one."""
    skipped: Mapping[str, int]
    disagreements: Disagreements

    columns = (
        "reviewer", "other_reviewer", "items", "equal", "share_equal", "share_low", "share_high", "equal_or_above", "cohens_kappa",
    )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per pair of reviewers."""
        return [
            dict(
                zip(
                    self.columns,
                    (
                        *one.reviewers, one.items, one.equal, number(one.equal / one.items), *map(number, one.share_ci95), one.compatible,
                        number(one.kappa),
                    ),
                    strict=True,
                )
            )
            for one in self.pairs
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Answers of two reviewers that differ."""

    counts: tuple[tuple[str, str, int], ...]

    columns = ("answer", "other_answer", "pairs_of_reviews")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per pair of answers, most frequent first."""
        return [dict(zip(self.columns, counted, strict=True)) for counted in self.counts]


def agreement_of_reviewers(reviews: Iterable[Review]) -> ReviewerAgreement:
    """Compare the newest review of each reviewer on each image, box and event.

    Reviews of a box count with those of the same box only. Answers are equal if verdict and taxon are; a binomial without its
    higher ranks is equal to the same taxon with them.
    """
    by_item: dict[Hashable, dict[str, list[Review]]] = defaultdict(lambda: defaultdict(list))
    skipped: Counter[str] = Counter()
    names: dict[str, str] = {}  # as first written, since case and white space make no other person
    for review in in_force(reviews, by_reviewer=True):
        if key := reviewer_key(review.reviewer):
            by_item[subject_of(review)][names.setdefault(key, review.reviewer.strip())].append(review)
        else:
            skipped[ANONYMOUS] += 1
    items = []
    for of_reviewer in by_item.values():
        one_each = {reviewer: given[0] for reviewer, given in of_reviewer.items() if len(given) == 1}
        skipped[SEVERAL] += sum(len(given) > 1 for given in of_reviewer.values())
        labels: dict[str, Label] = {
            reviewer: (one.verdict, one.taxon if one.verdict == "taxon" else None) for reviewer, one in one_each.items()
        }
        if len(labels) > 1:
            items.append(labels)
        skipped[ALONE] += len(labels) == 1
    skipped = +skipped  # without zeros
    return _compared(items, dict(skipped))


def _compared(items: list[dict[str, Label]], skipped: Mapping[str, int]) -> ReviewerAgreement:
    of_pair: dict[tuple[str, str], list[tuple[Label, Label]]] = defaultdict(list)
    confused: Counter[tuple[str, str]] = Counter()
    for labels in items:
        for one, other in combinations(sorted(labels), 2):
            of_pair[one, other].append((labels[one], labels[other]))
            if not equal(labels[one], labels[other]):
                shown = sorted((shown_label(labels[one]), shown_label(labels[other])))
                confused[shown[0], shown[1]] += 1
    pairs = [_pair(names, given) for names, given in of_pair.items()]
    pairs.sort(key=lambda pair: (-pair.items, pair.reviewers))
    coded = [_codes(labels.values()) for labels in items]
    ordered = sorted(confused.items(), key=lambda counted: (-counted[1], counted[0]))
    return ReviewerAgreement(
        tuple(pairs),
        len(items),
        sum(all(equal(first, label) for label in rest) for first, *rest in (list(one.values()) for one in items)),
        krippendorff_alpha(coded),
        skipped,
        Disagreements(tuple((*names, count) for names, count in ordered)),
    )


def _pair(names: tuple[str, str], given: list[tuple[Label, Label]]) -> PairAgreement:
    same = sum(equal(one, other) for one, other in given)
    compatible = sum(_are_compatible(one, other) for one, other in given)
    coded = [_codes(labels) for labels in given]
    interval = binomial_interval(float(same), float(len(given)))
    return PairAgreement(names, len(given), same, compatible, cohen_kappa([(a, b) for a, b in coded]), interval)


def equal(one: Label, other: Label) -> bool:
    """Return True if two answers are one: the same verdict, and the same taxon as far as names tell."""
    if one[0] != other[0]:
        return False
    if one[1] is None or other[1] is None:
        return one[1] is other[1]
    return is_within(one[1], other[1]) and is_within(other[1], one[1])


def _are_compatible(one: Label, other: Label) -> bool:
    taxa = one[1], other[1]
    if taxa[0] is None or taxa[1] is None or equal(one, other):
        return equal(one, other)
    return is_above(taxa[0], taxa[1]) or is_above(taxa[1], taxa[0])


def _codes(labels: Iterable[Label]) -> list[Hashable]:
    """Return a code for each answer; equal answers have equal codes."""
    return [(verdict, taxon.name.casefold() if taxon else "") for verdict, taxon in labels]


def shown_label(label: Label) -> str:
    """Return an answer in words."""
    verdict, taxon = label
    return taxon.name if taxon is not None else verdict.replace("_", " ")


def cohen_kappa(pairs: Iterable[tuple[Hashable, Hashable]]) -> float:
    """Return Cohen's kappa of two raters; NaN without pairs, and if both gave one and the same answer to all."""
    given = list(pairs)
    if not given:
        return float("nan")
    first, second = Counter(one for one, _ in given), Counter(other for _, other in given)
    expected = sum(first[code] * second[code] for code in first) / len(given) ** 2
    observed = sum(one == other for one, other in given) / len(given)
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def krippendorff_alpha(items: Iterable[Iterable[Hashable]]) -> float:
    """Return Krippendorff's alpha for nominal data; items with one answer do not count. NaN if all answers are one.

    Source: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability.
    """
    counted = [Counter(answers) for answers in items]
    counted = [answers for answers in counted if answers.total() > 1]
    totals: Counter[Hashable] = sum(counted, Counter())
    n = totals.total()
    disagreeing = sum(
        (answers.total() ** 2 - sum(count**2 for count in answers.values())) / (answers.total() - 1)
        for answers in counted
    )
    chance = n**2 - sum(count**2 for count in totals.values())
    return 1 - (n - 1) * disagreeing / chance if chance else float("nan")
