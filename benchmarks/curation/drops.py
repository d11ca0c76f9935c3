"""Records that are in no split: the reasons of each stage, and whether the truth agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.curation.joined import Joined, Told

_UNREADABLE = ("short", "empty", "html", "missing")
_EXAMPLES = 5


@dataclass(slots=True)
class Drop:
    """Counts of one reason."""

    records: int = 0
    agreed: int = 0
    """Records that the truth would leave out for the same reason."""
    examples: list[str] = field(default_factory=list)
    """The first ones about which the truth does not agree."""


def drops(joined: Joined) -> dict[str, Drop]:
    """Count the records of each reason."""
    leaking = {(row["source"], row["uri"]) for row in joined.leaks}
    found: dict[str, Drop] = {}
    for one in joined.known():
        reason = _reason((one.said or {}).get("excluded") or "")
        if not reason:
            continue
        drop = found.setdefault(reason, Drop())
        drop.records += 1
        if _agrees(joined, one, reason, leaking):
            drop.agreed += 1
        elif len(drop.examples) < _EXAMPLES:
            drop.examples.append(
                f"{one.true['source']}/{one.true['uri']} ({one.true['written']!r}): {(one.said or {})['excluded']}"
            )
    return dict(sorted(found.items()))


def kept_in_spite(joined: Joined) -> dict[str, tuple[int, int]]:
    """Return per kind that a split should not hold: records, and those that one holds."""
    wanted: dict[str, Callable[[Told], bool]] = {
        "unreadable": lambda one: one.true["state"] in _UNREADABLE,
        "placeholder_image": lambda one: "placeholder_image" in one.kinds,
        "conflicting_labels": lambda one: "conflicting_labels" in one.kinds,
        "empty_frame": lambda one: "empty_frame" in one.kinds,
    }
    return {
        name: (sum(map(holds, joined.told)), sum(holds(one) and one.is_kept for one in joined.told))
        for name, holds in wanted.items()
    }


def _reason(excluded: str) -> str:
    """Return a reason without what it says of one record."""
    for beginning in (
        "without a label",
        "without a readable image",
        "leaks into",
        "duplicate of",
        "image kind",
        "filter",
    ):
        if excluded.startswith(beginning):
            return beginning
    return excluded.partition(":")[0].partition(" of ")[0]


def _agrees(joined: Joined, one: Told, reason: str, leaking: set[tuple[str, str]]) -> bool:
    match reason:
        case "without a label":
            return not one.true["recoverable"]
        case "without a readable image":
            return one.true["state"] in _UNREADABLE
        case "leaks into":
            return (one.true["source"], one.true["uri"]) in leaking
        case "duplicate of":
            kept = joined.by_key.get((one.said or {})["duplicate_of"] or "")
            return kept is not None and kept.true["original"] == one.true["original"]
        case _:
            return bool({"conflicting_labels", "placeholder_image", "misidentified"} & set(one.kinds))
