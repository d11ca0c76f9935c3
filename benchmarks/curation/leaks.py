"""Leaks: which planted ones are found, which are left in a split, and what is reported without being planted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.curation.joined import Joined, Told

_EXAMPLES = 5


@dataclass(slots=True)
class Leaks:
    """Counts of the leaks of one kind into one set."""

    planted: int = 0
    found: int = 0
    left: int = 0
    """Planted ones whose record is in a split."""
    hidden: int = 0
    """Left ones of a taxon that the record's name does not tell, which nothing can find."""
    false: int = 0
    """Reported ones that were not planted."""
    examples: list[str] = field(default_factory=list)
    """The first ones that are left."""


def leaks(joined: Joined) -> dict[str, Leaks]:
    """Count the leaks by set and kind. A leak by image, near image or observation counts as found under any of the three."""
    planted: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in joined.leaks:
        planted[row["source"], row["uri"]].append((row["evaluation_set"], row["kind"]))
    found: dict[str, Leaks] = {}
    for one in joined.told:
        true = planted.get((one.true["source"], one.true["uri"]), [])
        said = _said(one)
        for name, kind in true:
            _count(found.setdefault(f"{name}: {kind}", Leaks()), one, _is_found(said, name, kind), kind)
        reached = {(name, _family(kind)) for name, kind in true}
        for name, kind in said:
            if (name, _family(kind)) not in reached and not _is_true_taxon(joined, one, name, kind):
                found.setdefault(f"{name}: {kind}", Leaks()).false += 1
    return dict(sorted(found.items()))


def left(joined: Joined) -> int:
    """Return how many planted leaks are in a split although something could have found them."""
    return sum(one.left - one.hidden for one in leaks(joined).values())


def _said(one: Told) -> list[tuple[str, str]]:
    """Return set and kind of each leak that the catalog reports: ``SET: KIND of ITEM``."""
    sentences = (one.said or {}).get("leaks") or []
    return [(text.partition(": ")[0], text.partition(": ")[2].partition(" of ")[0]) for text in sentences]


def _family(kind: str) -> str:
    return "taxon" if kind == "taxon" else "image"


def _is_found(said: list[tuple[str, str]], name: str, kind: str) -> bool:
    return any(other == name and _family(reported) == _family(kind) for other, reported in said)


def _is_true_taxon(joined: Joined, one: Told, name: str, kind: str) -> bool:
    """True for species that a set of seen species has as well: reported, not planted, and no mistake."""
    unseen = {row["evaluation_set"] for row in joined.leaks if row["kind"] == "taxon"}
    return kind == "taxon" and name not in unseen and bool(one.said_species)


def _count(leak: Leaks, one: Told, is_found: bool, kind: str) -> None:
    leak.planted += 1
    leak.found += is_found
    if one.is_kept:
        leak.left += 1
        if kind == "taxon" and not one.true["recoverable"]:
            leak.hidden += 1
        elif len(leak.examples) < _EXAMPLES:
            leak.examples.append(f"{one.true['source']}/{one.true['uri']} ({one.true['written']!r})")
