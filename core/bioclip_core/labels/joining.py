"""Joining prototypes to a text label set: the rows to replace, and the scale and bias under which both kinds compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.checklist import NameIndex
from bioclip_core.labels.label_set import LabelSet, one_label_each
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.merging import mapped_rows, row_of, write_merged
from bioclip_core.labels.prototypes import (
    UNFITTED,
    checked_examples,
    left_out_cosines,
    log_sum,
    sums_of,
    unit_rows,
)
from bioclip_core.labels.verifying import ROWS_PER_CHUNK
from bioclip_core.lineages import compatible
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon

JOINED_SCALES: tuple[float, ...] = tuple(float(round(scale, 3)) for scale in np.geomspace(1.0, 400.0, 27))
"""Scales to try, 26% apart. Features are not centred here, so their cosines are closer together than those of centred ones:
the mean of the examples is that of new taxa, and subtracting it would hide how far images of old taxa are from all of them."""

OLD_WEIGHS = 2.0
"""An answer that an old taxon loses counts as much as two that a new one misses, since the user has the old answers already."""

ENOUGH_OLD = 20
"""With fewer examples of taxa that keep their text row, examples whose own prototype is removed stand in for more."""

_REPLACES = math.log(10)
"""A taxon's examples must be ten times as likely under its prototype as under its text row."""
_SHARE_OF_OTHERS = 0.25
"""Share of images of other taxa that prototypes may take if no example can be left out to weigh it."""
_SHARE_OF_OWN = 0.75
"""Share of its own images for a lone prototype if no images of other taxa are known."""
_EXAMPLES_PER_TAXON = 10
"""More examples say no more about a text row."""
_AS_GOOD = 0.02
"""Nats: of equally likely scales the smallest is taken, since a few well-separated examples set no upper limit."""
_ROWS = 4000
"""Examples that are compared with the text rows, unless there are more than 2,000 taxa."""
_PRODUCTS = 400_000_000
"""Products of these examples and text rows: for a million labels, 400 examples."""
_CELLS = 2_000_000
"""Examples × prototypes in the fit."""
_MOST_ALIKE = 10_000
"""Rows under one name that are searched for the taxon of that name."""
_NEVER = -1e9
"""Logit of a missing row."""


@dataclass(frozen=True, slots=True)
class JoinFit:
    """The fit that joins the two kinds of rows, as the label set's manifest keeps it."""

    scale: float
    bias: float
    """Of the prototypes: logit = scale * cosine + bias. The text rows keep their own."""
    added: int
    """Prototypes of taxa without a text row."""
    replaced: int
    """Prototypes that replace a text row."""
    kept: tuple[str, ...]
    """Taxa with examples that keep their text row, under which their left-out examples are likely enough."""
    new_rows: int
    """Examples, each left out of its prototype, that tell how often prototypes must win."""
    old_rows: int
    """Examples of taxa that keep their text row, which tell how often text must win."""
    old_stand_ins: int
    """Examples with their own prototype removed, which stand in for missing images of old taxa."""

    @property
    def rests_on(self) -> str:
        """The data behind the fit, for users."""
        new = f"{self.new_rows} left-out examples of taxa with prototypes"
        if not self.new_rows:
            new = f"no example that could be left out (each prototype has one), so prototypes get {_SHARE_OF_OTHERS:.0%} of other images"
        if not (self.old_rows or self.old_stand_ins):
            return f"{new}; there are no images of other taxa, so the prototype gets {_SHARE_OF_OWN:.0%} of its own"
        old = [f"{self.old_rows} images of taxa that keep their text row"] if self.old_rows else []
        old += [f"{self.old_stand_ins} examples with their own prototype removed"] if self.old_stand_ins else []
        return f"{new}, and {' and '.join(old)}"


@dataclass(frozen=True, slots=True)
class TextSide:
    """The logits of R images under a text label set."""

    others_R: NDArray[np.float64]
    """Logarithm of the sum of the exponentials of all logits except that of the image's own taxon."""
    own_R: NDArray[np.float64]
    """Logit of the image's own taxon, a very small number for a taxon without a row."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """R examples and C prototypes, each example left out of its own."""

    cosines_RC: NDArray[np.float64]
    label_of_R: NDArray[np.int64]
    counts_C: NDArray[np.int64]
    """All examples of each prototype."""

    @property
    def own(self) -> NDArray[np.float64]:
        return self.cosines_RC[np.arange(len(self.label_of_R)), self.label_of_R]

    @property
    def without_own(self) -> NDArray[np.float64]:
        cosines_RC = self.cosines_RC.copy()
        cosines_RC[np.arange(len(self.label_of_R)), self.label_of_R] = _NEVER
        return cosines_RC


@dataclass(frozen=True, slots=True)
class _Side:
    """Images of one side of the fit: their cosines with prototypes, and the weight of the text rows."""

    cosines_RC: NDArray[np.float64]
    text_R: NDArray[np.float64]
    own_R: NDArray[np.float64]
    """Cosines with their own prototypes; meaningless for images of old taxa."""


def check_joinable(text: LabelSet) -> None:
    """Refuse a label set that prototypes are not joined to.

    Raises:
        LabelSetError: if it holds prototypes, a probe or custom labels.
    """
    if text.is_custom or len(text.kinds) > 1 or any(block.kind != "text" for block in text.blocks):
        held = "custom labels" if text.is_custom else "a probe" if text.row_scales else "prototypes"
        raise LabelSetError(
            f"label set {text.folder or '(in memory)'} holds {held}; "
            "prototypes are joined to a label set of text alone: give one from `labels build` or `labels import`"
        )


def join_prototypes(
    text: LabelSet, features_ND: NDArray[Any], taxa: Sequence[Taxon], folder: Path, *, progress: Progress | None = None
) -> tuple[LabelSet, JoinFit]:
    """Write a label set with the rows of a text label set and the prototypes of examples, on comparable scales.

    Cosines of two images and of an image and a caption are on different scales, so rows of both kinds, stacked unchanged,
    take each other's answers. The logits of text stay unchanged. Scale and bias of the prototypes are those under which
    images are likeliest, with old taxa weighing twice as much as new ones. Images of new taxa are the examples, each left
    out of its own prototype. Images of old taxa are the examples of taxa that keep their text row and, if there are only a
    few, examples whose own prototype is removed: for them the text rows should win, as for any taxon without examples.

    The prototype of a taxon in the text set replaces its text row if its left-out examples are together ten times as likely
    under it. Otherwise, and for a single example, the text row stays.

    Args:
        text: a label set of text alone, for the encoder of the features.
        features_ND: one L2-normalised row per example.
        taxa: the taxon of each row.
        folder: folder to write.
        progress: called with rows written and rows in total.

    Raises:
        LabelSetError: if the text set holds prototypes or custom labels, the examples cannot be used, or there is only one.
    """
    check_joinable(text)
    features = checked_examples(features_ND, taxa, least=1)
    if len(features) < 2:
        raise LabelSetError("prototypes: a single example does not tell how alike images are; give at least two")
    labels, label_of_N, _ = one_label_each(taxa)
    rows, places = _fit_rows(label_of_N, len(text)), matching_rows(text, labels)
    text_side = _text_side(text, features[rows], places[label_of_N[rows]])
    sums_CD = sums_of(features, label_of_N, len(labels))
    prototypes_CD = unit_rows(sums_CD)
    cosines_RC = left_out_cosines(features[rows], label_of_N[rows], sums_CD, prototypes_CD)
    evidence = _Evidence(cosines_RC, label_of_N[rows], np.bincount(label_of_N))
    has_row_C = places >= 0
    # The first fit uses every prototype, and every text row except that of the example's own taxon.
    scale, bias, _ = _fit(evidence, text_side, text_side, np.ones(len(labels), dtype=bool))
    used_C = _chosen(evidence, text_side, scale, bias, has_row_C)
    remaining = _text_side(text, features[rows], places[label_of_N[rows]], without=places[used_C & has_row_C])
    scale, bias, counts = _fit(evidence, text_side, remaining, used_C)
    kept = tuple(label.scientific_name for label, used in zip(labels, used_C, strict=True) if not used)
    fit = JoinFit(scale, bias, int((used_C & ~has_row_C).sum()), int((used_C & has_row_C).sum()), kept, *counts)
    notes = {"captions": text.manifest.get("captions"), "examples": len(features), "join_fit": asdict(fit),
             "joined_to": text.manifest["id"]}  # fmt: skip
    chosen = [
        label if place < 0 else text.taxon(place)
        for label, place, used in zip(labels, places.tolist(), used_C, strict=True)
        if used
    ]
    joined = write_merged(
        folder, text, chosen, prototypes_CD[used_C], Block(0, 0, "prototype", scale, bias), notes, progress=progress
    )
    return joined, fit


def _text_side(
    text: LabelSet,
    features_RD: NDArray[np.float32],
    own_R: NDArray[np.int64],
    *,
    without: Sequence[int] | NDArray[np.int64] = (),
) -> TextSide:
    """Compare R images with the text rows, a chunk of rows at a time.

    Args:
        text: a label set of text alone.
        features_RD: L2-normalised.
        own_R: the row of each image's own taxon, negative for a taxon without a row.
        without: rows to leave out.
    """
    block, usable_N = text.blocks[0], text.kept_N.copy()
    usable_N[np.asarray(without, dtype=np.int64)] = False
    sums_R, own_logit_R = (np.full(len(features_RD), _NEVER) for _ in range(2))
    for start in range(0, len(text), ROWS_PER_CHUNK):
        chunk_KD = mapped_rows(text)[start : start + ROWS_PER_CHUNK].astype(np.float32)
        logits_RK = (block.scale * (features_RD @ chunk_KD.T) + block.bias).astype(np.float64)
        logits_RK[:, ~usable_N[start : start + len(chunk_KD)]] = _NEVER
        here = np.flatnonzero((own_R >= start) & (own_R < start + len(chunk_KD)))
        own_logit_R[here] = logits_RK[here, own_R[here] - start]
        logits_RK[here, own_R[here] - start] = _NEVER
        sums_R = np.logaddexp(sums_R, log_sum(logits_RK))
    return TextSide(sums_R, own_logit_R)


def _fit_rows(label_of_N: NDArray[np.int64], text_rows: int) -> NDArray[np.int64]:
    """Return the examples that take part in the fit: a few of each taxon, evenly spread over its own."""
    counts = np.bincount(label_of_N)
    most = int(np.clip(min(_ROWS, _PRODUCTS // text_rows) // len(counts), 2, _EXAMPLES_PER_TAXON))
    examples_of_C = np.split(np.argsort(label_of_N, kind="stable"), np.cumsum(counts)[:-1])
    picked = [own[np.linspace(0, len(own) - 1, min(most, len(own))).astype(np.int64)] for own in examples_of_C]
    return np.sort(np.concatenate(picked))


def matching_rows(text: LabelSet, taxa: Sequence[Taxon]) -> NDArray[np.int64]:
    """Return the usable row of each taxon in a label set, -1 for a taxon without one.

    A row matches by its whole lineage. If higher ranks differ, it matches by its name, provided that exactly one row of the
    same rank has it and contradicts no rank; without such a row exactly one in no other kingdom.
    """
    index = NameIndex(text)
    rows_C = np.full(len(taxa), -1, dtype=np.int64)
    for place, taxon in enumerate(taxa):
        row = row_of(text, taxon)
        found = [row] if row is not None else _named_alike(text, taxon, index.rows(taxon.scientific_name))
        usable = [row for row in found if text.kept_N[row]]
        fitting = [row for row in usable if compatible(text.taxon(row).lineage, taxon.lineage)] or usable
        if len(fitting) == 1:
            rows_C[place] = fitting[0]
    return rows_C


def named_with_other_ranks(text: LabelSet, taxa: Sequence[Taxon]) -> list[str]:
    """Return a text per taxon that matches a row by its name alone, though ranks above it contradict each other."""
    distinct, _, _ = one_label_each(taxa)
    rows = zip(distinct, matching_rows(text, distinct).tolist(), strict=True)
    pairs = [(taxon, text.taxon(row)) for taxon, row in rows if row >= 0]
    return [
        f"{taxon.scientific_name} ({taxon.taxonomic_name}; there {other.taxonomic_name})"
        for taxon, other in pairs
        if not compatible(taxon.lineage, other.lineage)
    ]


def _named_alike(text: LabelSet, taxon: Taxon, rows: NDArray[np.int64] | None) -> list[int]:
    # A family's name has many rows, one of which may be the family itself.
    others = {row: text.taxon(row) for row in ([] if rows is None else rows[:_MOST_ALIKE].tolist())}
    return [
        row
        for row, other in others.items()
        if (other.rank, other.scientific_name) == (taxon.rank, taxon.scientific_name)
        and (not (taxon.kingdom and other.kingdom) or taxon.kingdom == other.kingdom)
    ]


def _chosen(
    evidence: _Evidence, text: TextSide, scale: float, bias: float, has_row_C: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return True for each of C taxa that gets its prototype: without a text row, or with examples that are likelier under it."""
    others_R = np.logaddexp(text.others_R, log_sum(scale * evidence.without_own) + bias)
    as_prototype_R = scale * evidence.own + bias
    gain_R = (as_prototype_R - np.logaddexp(others_R, as_prototype_R)) - (
        text.own_R - np.logaddexp(others_R, text.own_R)
    )
    gain_C = np.bincount(evidence.label_of_R, gain_R, len(evidence.counts_C))
    return ~has_row_C | ((gain_C > _REPLACES) & (evidence.counts_C > 1))


def _fit(
    evidence: _Evidence, text: TextSide, remaining: TextSide, used_C: NDArray[np.bool_]
) -> tuple[float, float, tuple[int, int, int]]:
    """Return scale and bias of the prototypes in use, and the numbers of new, old and stand-in images behind them.

    Args:
        evidence: with all C prototypes.
        text: with every text row.
        remaining: without the replaced text rows.
        used_C: the prototypes in use.
    """
    if not used_C.any():
        return UNFITTED, 0.0, (0, len(evidence.label_of_R), 0)
    used_R = used_C[evidence.label_of_R]
    cosines_RC = np.where(used_C, evidence.cosines_RC, _NEVER)
    left_RC = np.where(used_C, evidence.without_own, _NEVER)
    remaining_R = np.logaddexp(remaining.others_R, np.where(used_R, _NEVER, text.own_R))
    is_new_R = used_R & (evidence.counts_C[evidence.label_of_R] > 1)
    is_old_R = ~used_R
    stands_in_R = used_R & (is_old_R.sum() < ENOUGH_OLD) & (used_C.sum() > 1)
    new = _Side(cosines_RC[is_new_R], remaining_R[is_new_R], evidence.own[is_new_R])
    # A stand-in is an image of a taxon without a prototype, so it gets its text row back.
    text_of_stand_in_R = np.logaddexp(remaining.others_R, text.own_R)
    old = _Side(
        np.concatenate([cosines_RC[is_old_R], left_RC[stands_in_R]]),
        np.concatenate([remaining_R[is_old_R], text_of_stand_in_R[stands_in_R]]),
        np.empty(0),
    )
    scale, bias = _likeliest(new, old)
    return scale, bias, (int(is_new_R.sum()), int(is_old_R.sum()), int(stands_in_R.sum()))


def _likeliest(new: _Side, old: _Side) -> tuple[float, float]:
    """Return scale and bias; the two sides weigh 1 and ``OLD_WEIGHS``, whatever their numbers of images."""
    if not len(new.text_R) or not len(old.text_R):
        return UNFITTED, _bias(new, old, UNFITTED)
    new, old = _thinned(new), _thinned(old)
    tried = []
    for scale in JOINED_SCALES:
        bias = _bias(new, old, scale)
        new_R, old_R = (log_sum(scale * side.cosines_RC) + bias for side in (new, old))
        # The weight of an old image's right text row does not depend on scale and bias, so it is left out.
        likelihood = np.mean(scale * new.own_R + bias - np.logaddexp(new.text_R, new_R)) - OLD_WEIGHS * np.mean(
            np.logaddexp(0, old_R - old.text_R)
        )
        tried.append((float(likelihood), scale, bias))
    good = max(tried)[0] - _AS_GOOD
    return next((scale, bias) for likelihood, scale, bias in tried if likelihood >= good)


def _bias(new: _Side, old: _Side, scale: float) -> float:
    """Return the likeliest bias at a scale: new images lose ``OLD_WEIGHS`` times as much to text as old ones to prototypes."""
    new_R, old_R = (log_sum(scale * side.cosines_RC) - side.text_R for side in (new, old))
    low, high = -2000.0, 2000.0
    for _ in range(60):
        bias = (low + high) / 2
        lost = 1 - _share(new_R + bias) if len(new_R) else _SHARE_OF_OTHERS
        taken = _share(old_R + bias) if len(old_R) else 1 - _SHARE_OF_OWN
        weight = OLD_WEIGHS if len(new_R) and len(old_R) else 1.0
        low, high = (bias, high) if lost > weight * taken else (low, bias)
    return (low + high) / 2


def _share(logits_R: NDArray[np.float64]) -> float:
    """Return the mean of the logistic function."""
    return float(np.mean(0.5 * (1 + np.tanh(logits_R / 2))))


def _thinned(side: _Side) -> _Side:
    step = max(1, side.cosines_RC.size // _CELLS)
    return _Side(side.cosines_RC[::step], side.text_R[::step], side.own_R[::step])
