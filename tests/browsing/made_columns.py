"""Columns made by hand, for the tests of views, search, review orders and figures: no store, no run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.browsing.columns import COLUMN_TYPES, LEVELS, UNKNOWN_MOMENT, VERDICTS, Columns, ReviewMark
from bioclip_plugin.browsing.tree import tree_of

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
WILDCAT = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "fictilis", "invented cat")
FELIDAE = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "ficta", "invented fox")
MOTH = Taxon("Animalia", "Arthropoda", "Insecta", "Lepidoptera", "Ficidae", "Oenanthe", "alba")
PLANT = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "alba")
"""A hemihomonym of ``MOTH``."""
HOLED = Taxon("Animalia", "", "", "", "Fabulidae", "Fabula", "prima")
"""A lineage with holes."""
TAXA = (LYNX, WILDCAT, FELIDAE, FOX, MOTH, PLANT, HOLED)


def made_columns(
    rows: Sequence[dict[str, Any]], reviews: Sequence[dict[str, Any]] = (), taxa: Sequence[Taxon] = TAXA
) -> Columns:
    """Return columns of rows that are given by words; what a row does not give is as for a lone image without a decision.

    Keys of a row: ``media``, ``region``, ``position`` (default: its place from 1), ``name``, ``taxon`` (one of ``taxa``),
    ``rank``, ``probability``, ``best``, ``margin``, ``verdict``, ``flags`` (names), ``camera``, ``event``, ``at`` (ISO 8601),
    ``review`` (place in ``reviews``), ``failure``. Keys of a review: ``verdict``, ``taxon``, ``reviewer``, ``at``, ``kind``.
    """
    tree = tree_of({place: (taxon, str(taxon.rank)) for place, taxon in enumerate(taxa)})
    numbers = {taxon: tree.numbers[place] for place, taxon in enumerate(taxa)} | {None: -1}
    words = {
        "cameras": sorted({row["camera"] for row in rows if row.get("camera")}),
        "events": sorted({row["event"] for row in rows if row.get("event")}),
        "failures": sorted({row["failure"] for row in rows if row.get("failure")}),
        "flags": sorted({flag for row in rows for flag in row.get("flags", ())}),
    }

    def values(place: int, row: dict[str, Any]) -> dict[str, Any]:
        taxon, number = row.get("taxon"), lambda kind, name: words[kind].index(row[name]) if row.get(name) else -1
        verdict = row.get("verdict", "taxon" if taxon else None)
        probability = row.get("probability", 0.9 if taxon else np.nan)
        return {
            "media_N": row.get("media", place + 1),
            "region_N": row.get("region", 0 if row.get("failure") else place + 1),
            "position_N": row.get("position", row.get("media", place + 1)),
            "name_N": row.get("name", row.get("media", place + 1)),
            "taxon_N": numbers[taxon],
            "rank_N": LEVELS.index(row.get("rank", str(taxon.rank))) if taxon else -1,
            "probability_N": probability,
            "best_N": row.get("best", probability),
            "margin_N": row.get("margin", np.nan),
            "verdict_N": VERDICTS.index(verdict) if verdict else -1,
            "flags_N": sum(1 << words["flags"].index(flag) for flag in row.get("flags", ())),
            "camera_N": number("cameras", "camera"),
            "event_N": number("events", "event"),
            "moment_N": seconds(row["at"]) if row.get("at") else UNKNOWN_MOMENT,
            "review_N": row.get("review", -1),
            "failure_N": number("failures", "failure"),
        }

    table = [values(place, row) for place, row in enumerate(rows)]
    marks = [
        ReviewMark(
            place + 1, said.get("kind", "region"), said.get("verdict", "taxon"), numbers[said.get("taxon")],
            said.get("reviewer", "Ada"), float(seconds(said.get("at", "2026-05-01T12:00:00"))),
        )
        for place, said in enumerate(reviews)
    ]  # fmt: skip
    return Columns(
        **{name: np.array([row[name] for row in table], kind) for name, kind in COLUMN_TYPES.items()},
        taxa=tree.nodes,
        reviews=tuple(marks),
        **{name: tuple(found) for name, found in words.items()},
    )


def many_columns(count: int, seed: int = 0) -> Columns:
    """Return columns of ``count`` invented rows: images of one region, sixteen cameras, five images per event, some failures."""
    random = np.random.default_rng(seed)
    number = np.arange(count)
    plain = made_columns([{"taxon": taxon} for taxon in TAXA])
    taxon = plain.taxon_N[random.integers(0, len(TAXA), count)]
    best = random.random(count, dtype=np.float32) * np.float32(0.5) + np.float32(0.5)
    failed, undecided = random.random(count) < 0.01, random.random(count) < 0.1
    none = failed | undecided
    return replace(
        plain,
        media_N=number + 1,
        region_N=np.where(failed, 0, number + 1),
        position_N=number + 1,
        name_N=(number + 1).astype(np.int32),
        taxon_N=np.where(none, -1, taxon).astype(np.int32),
        rank_N=np.where(none, -1, np.array([LEVELS.index(node.rank) for node in plain.taxa])[taxon]).astype(np.int8),
        probability_N=np.where(none, np.nan, best).astype(np.float32),
        best_N=np.where(failed, np.nan, best).astype(np.float32),
        margin_N=np.where(failed, np.nan, 2 * best - 1).astype(np.float32),
        verdict_N=np.where(failed, -1, np.where(undecided, VERDICTS.index("unknown"), 0)).astype(np.int8),
        flags_N=np.zeros(count, np.uint32),
        camera_N=(number // 5 % 16).astype(np.int32),
        event_N=(number // 5).astype(np.int32),
        moment_N=1_700_000_000 + number // 5 * 1_800 + number % 5,
        review_N=np.full(count, -1, np.int32),
        failure_N=np.where(failed, 0, -1).astype(np.int16),
        cameras=tuple(f"camera {place:02}" for place in range(16)),
        events=tuple(f"event {place}" for place in range(-(-count // 5))),
        failures=("decode: the file is empty",),
    )


def seconds(text: str) -> int:
    """Return a wall-clock time in seconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
