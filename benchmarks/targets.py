"""The targets of the product, and what a run of the benchmarks says about each: met, missed, or not measurable on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Info = Mapping[str, Any]
"""``extra_info`` of a benchmark, or the figures of a cell of ``benchmarks.scale``."""


def ratio(info: Info) -> float:
    return float(info["ratio"]["median"])


def rate(info: Info) -> float:
    return float(info["ours"]["median"])


def share_of_limit(info: Info) -> float:
    return float(info["ours"]["median"]) / float(info["ceiling"]["p90"])


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table: a figure of a benchmark and what it must reach."""

    what: str
    peer: str
    key: str
    """``key`` of the benchmark's ``extra_info``, or the name of a cell of ``benchmarks.scale``."""
    asked: float
    unit: str = "×"
    value: Callable[[Info], float] = ratio
    at_most: bool = False
    needs_amx: bool = False
    """True if the figure was set for a processor with AMX: without it, a miss is not a verdict."""
    reason: str = "[where the time goes](#where-the-time-goes)"
    """Page with what a profile shows of a miss, what was tried and what the limit is."""
    by: str = ""
    """Command that measures it, if ``make bench`` does not."""

    def reached(self, found: float) -> bool:
        return found <= self.asked if self.at_most else found >= self.asked

    def asked_in_words(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.asked:,g} {self.unit}".replace(" ×", "×").replace(" %", "%")


def _field(name: str) -> Callable[[Info], float]:
    return lambda info: float(info[name])


_PEER = "pybioclip"
_LABELS = "[label sets](../docs/speed.md#label-sets) and the [log](LOG.md)"
_SCALE = "make bench-scale"
_STORE = "[the store](../docs/speed.md#the-store)"
TARGETS = (
    Target("end to end, 500×375, species, 50,000 labels", _PEER, "end-to-end-small", 3.3, needs_amx=True),
    Target("the same in int8", _PEER, "end-to-end-small-int8", 4.5, needs_amx=True),
    Target("end to end, 12-megapixel JPEGs", _PEER, "end-to-end-large", 5.3, needs_amx=True),
    Target("the same in int8", _PEER, "end-to-end-large-int8", 7.0, needs_amx=True),
    Target("end to end, genus, 400,000 labels", _PEER, "end-to-end-genus", 65.0, needs_amx=True),
    Target("the same in int8", _PEER, "end-to-end-genus-int8", 90.0, needs_amx=True),
    Target("encode alone", "products of its own shapes", "encode-16", 0.65, value=share_of_limit, needs_amx=True),
    Target("encode in a Session", "the encoder alone", "session-share", 0.97),
    Target("classify, species, 50,000 labels, peaked", f"{_PEER}'s bare product", "classify-50000-peaked", 1.2, reason=_LABELS),
    Target("classify, species, 400,000 labels, peaked", f"{_PEER}'s bare product", "classify-400000-peaked", 2.0, reason=_LABELS),
    Target("classify, species, 50,000 labels, flat", f"{_PEER}'s bare product", "classify-50000-flat", 1.0, reason=_LABELS),
    Target("classify, species, 400,000 labels, flat", f"{_PEER}'s bare product", "classify-400000-flat", 1.0, reason=_LABELS),
    Target("labels build", "open_clip encode_text at full context", "labels-build", 3.0),
    Target("reclassify from stored features, 100,000 labels, peaked", "–", "reclassify-peaked", 1000.0, "images/s", rate, reason=_LABELS),
    Target("the same, flat", "–", "reclassify-flat", 1000.0, "images/s", rate, reason=_LABELS),
    Target("open 1,000,000 × 768 labels and answer one image", "–", "open-million-s", 2.0, "s", rate, at_most=True),
    Target("the same, private memory", "–", "open-million-mb", 400.0, "MB", rate, at_most=True),
    Target("store, 5 candidates per image, SQLite", "SQLAlchemy row by row", "store-SQLite", 10.0, reason=_STORE),
    Target("store, 5 candidates per image, PostgreSQL", "SQLAlchemy row by row", "store-PostgreSQL", 10.0, reason=_STORE),
    Target("the same, SQLite, images per second", "–", "store-SQLite", 5000.0, "images/s", rate, reason=_STORE),
    Target("the same, PostgreSQL, images per second", "–", "store-PostgreSQL", 5000.0, "images/s", rate, reason=_STORE),
    Target(
        "memory over 100,000 images after the first 1,000", "–", "images-100000", 30.0, "MB", _field("growth_mb"),
        at_most=True, by=_SCALE,
    ),
    Target(
        "Ray, 2,000 images, start-up apart", "the local pipeline", "ray-2000", 20.0, "% slower", _field("slower"), at_most=True,
        by=_SCALE,
    ),
    Target(
        "MegaDetector JSON of 1,000,000 images, read", "megadetector-utils", "megadetector-1000000", 2.0, "× its time",
        _field("times"), at_most=True, by=_SCALE,
    ),
    Target("the same, memory", "–", "megadetector-1000000", 100.0, "MB", _field("peak_mb"), at_most=True, by=_SCALE),
    Target(
        "trainer, ViT-B/32, batch 64, bf16", "open_clip_train", "training-bf16", 3.0, needs_amx=True,
        by="pytest benchmarks/bench_train.py",
    ),
)  # fmt: skip


def table(entries: Sequence[Mapping[str, Any]], cells: Mapping[str, Info], *, amx: bool) -> list[str]:
    """Return the lines of the table of targets.

    Args:
        entries: benchmarks of a run; a target finds its figures by the ``key`` in ``extra_info``.
        cells: finished cells of ``benchmarks.scale``.
        amx: True if the machine of the run has AMX.
    """
    found: dict[str, Info] = dict(cells)
    found.update({entry["extra_info"]["key"]: entry["extra_info"] for entry in entries if "key" in entry["extra_info"]})
    lines = ["| what | beside | asked | measured | verdict |", "|---|---|--:|--:|---|"]
    for target in TARGETS:
        measured, verdict = verdict_of(target, found.get(target.key), amx=amx)
        lines.append(f"| {target.what} | {target.peer} | {target.asked_in_words()} | {measured} | {verdict} |")
    return lines


def verdict_of(target: Target, info: Info | None, *, amx: bool) -> tuple[str, str]:
    """Return the measured figure and the verdict in words."""
    try:
        value = target.value(info) if info is not None else None
    except (KeyError, TypeError, ZeroDivisionError):
        value = None
    if value is None or info is None:
        return "–", "not measured in this run" + (f": `{target.by}` does" if target.by else "")
    measured = _number(value)
    spread = info.get("ratio") if target.value is ratio else info.get("ours") if target.value is rate else None
    if spread and spread.get("q1", spread["low"]) != spread.get("q3", spread["high"]):
        measured += f" ({_number(spread.get('q1', spread['low']))}–{_number(spread.get('q3', spread['high']))})"
    if target.reached(value):
        return measured, "met"
    if target.needs_amx and not amx:
        return measured, "not measurable on this machine: it has no AMX, which the figure asks for"
    return measured, f"**missed**: see {target.reason}"


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def finished_cells(folder: Path) -> dict[str, Info]:
    """Return the figures of the finished cells of ``benchmarks.scale`` by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
