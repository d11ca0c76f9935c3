"""Rows that answer a question, as masks over the columns: one mask per condition, so that counts can leave one out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_plugin.browsing.columns import VERDICTS, Columns
from bioclip_plugin.browsing.query import UNDECIDED, ViewQuery
from bioclip_plugin.browsing.tree import TaxonNode

Mask = NDArray[np.bool_]
_EPOCH = date(1970, 1, 1)
_SHOWN = 60


def masks_of(columns: Columns, query: ViewQuery) -> dict[str, Mask]:
    """Return the masks (N) of a question's conditions by name; conditions that are not asked for are absent.

    Raises:
        UsageError: for a taxon, camera, flag or event that the run does not have.
    """
    conditions: dict[str, tuple[bool, Callable[[Columns, ViewQuery], Mask]]] = {
        "taxon": (bool(query.taxon), _taxon),
        "cameras": (bool(query.cameras), _cameras),
        "days": (query.from_day is not None or query.to_day is not None, _days),
        "hours": (query.hours is not None, _hours),
        "probability": (query.least is not None or query.most is not None, _probability),
        "verdicts": (bool(query.verdicts), _verdicts),
        "review_verdicts": (bool(query.review_verdicts), _review_verdicts),
        "flags": (bool(query.flags), _flags),
        "reviewed": (query.reviewed != "any", lambda c, q: (c.review_N >= 0) == (q.reviewed == "yes")),
        "reviewer": (bool(query.reviewer), _reviewer),
        "failures": (query.failures != "any", lambda c, q: (c.failure_N >= 0) == (q.failures == "only")),
        "event": (bool(query.event), _event),
    }
    return {name: mask(columns, query) for name, (is_asked, mask) in conditions.items() if is_asked}


def all_of(columns: Columns, masks: Collection[Mask]) -> Mask:
    """Return the rows (N) that every mask has."""
    found = np.ones(len(columns), np.bool_)
    for mask in masks:
        found &= mask
    return found


def taxa_by(columns: Columns, query: ViewQuery) -> NDArray[np.int32]:
    """Return the number of the taxon by which a question counts each row (N); -1 without one."""
    if query.named == "decision":
        return columns.taxon_N
    return (
        np.where(columns.review_N >= 0, columns.current_taxa, -1) if query.named == "review" else columns.current_taxa
    )


def node_named(columns: Columns, key: str) -> TaxonNode:
    """Return the taxon of a key.

    Raises:
        UsageError: if the run does not have it.
    """
    if (number := columns.taxa_by_key.get(key)) is None:
        raise UsageError(f"taxon {key[:_SHOWN]!r} is not one of this run; the taxa of a view name their keys")
    return columns.taxa[number]


def _taxon(columns: Columns, query: ViewQuery) -> Mask:
    node, taxa = node_named(columns, query.taxon), taxa_by(columns, query)
    found: Mask = (taxa >= node.first) & (taxa < node.stop)
    return found


def _cameras(columns: Columns, query: ViewQuery) -> Mask:
    numbers = [_number(columns.cameras, name, "camera") if name else -1 for name in query.cameras]
    return np.isin(columns.camera_N, numbers)


def _event(columns: Columns, query: ViewQuery) -> Mask:
    found: Mask = columns.event_N == _number(columns.events, query.event, "event")
    return found


def _flags(columns: Columns, query: ViewQuery) -> Mask:
    bits = np.uint32(sum(1 << _number(columns.flags, name, "flag") for name in query.flags))
    found: Mask = (columns.flags_N & bits) == bits
    return found


def _number(words: Sequence[str], word: str, kind: str) -> int:
    try:
        return words.index(word)
    except ValueError:
        some = ", ".join(words[:5]) + (", …" if len(words) > 5 else "") if words else "none"
        raise UsageError(f"{kind} {word[:_SHOWN]!r} is not one of this run, which has {some}") from None


def _days(columns: Columns, query: ViewQuery) -> Mask:
    mask = columns.timed.copy()
    if query.from_day is not None:
        mask &= columns.days >= (query.from_day - _EPOCH).days
    if query.to_day is not None:
        mask &= columns.days <= (query.to_day - _EPOCH).days
    return mask


def _hours(columns: Columns, query: ViewQuery) -> Mask:
    assert query.hours is not None
    first, last = query.hours
    from_first, to_last = columns.hours >= first, columns.hours <= last
    found: Mask = columns.timed & (from_first & to_last if first <= last else from_first | to_last)
    return found


def _probability(columns: Columns, query: ViewQuery) -> Mask:
    # The bounds are rounded as the values were, so that 0.9 is within 0.9 to 1.
    least = np.float32(0 if query.least is None else query.least)
    most = np.float32(1 if query.most is None else query.most)
    found: Mask = (columns.probability_N >= least) & (columns.probability_N <= most)
    return found


def _verdicts(columns: Columns, query: ViewQuery) -> Mask:
    mask = np.isin(columns.verdict_N, [VERDICTS.index(name) for name in query.verdicts if name != UNDECIDED])
    return mask | undecided(columns) if UNDECIDED in query.verdicts else mask


def undecided(columns: Columns) -> Mask:
    """Return the answered rows (N) that the rules have not decided on yet."""
    found: Mask = (columns.verdict_N < 0) & (columns.failure_N < 0)
    return found


def _review_verdicts(columns: Columns, query: ViewQuery) -> Mask:
    return _by_review(columns, [mark.verdict in query.review_verdicts for mark in columns.reviews])


def _reviewer(columns: Columns, query: ViewQuery) -> Mask:
    return _by_review(columns, [mark.reviewer == query.reviewer for mark in columns.reviews])


def _by_review(columns: Columns, wanted: Sequence[bool]) -> Mask:
    # One value more at the end, where -1 leads.
    found: Mask = np.array([*wanted, False], np.bool_)[columns.review_N]
    return found
