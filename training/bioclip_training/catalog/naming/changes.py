"""Kinds of changes of names, for summaries: how many rows each kind has, with the first example."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bioclip_core.findings import Findings
from bioclip_core.names import PLACEHOLDER
from bioclip_training.catalog.naming.names import Label

_KINDS = (
    (r".*, as --map says \(line ", "decided by --map"),
    (r".* names several; labelled by what they share", "several names; labelled by the taxon that they share"),
    (r"label .* replaced by ", "label of a source that comes first"),
    (r"completed from other (?:rows|records)", "ranks completed from other rows of the same taxon"),
    (r"common name .* read as ", "common name of a single species"),
    (r"common name ", "one common name per taxon"),
    (r".*; labelled by what they share", "several taxa of one name; labelled by the rank that they share"),
    (r".*; labelled by its ", "not listed; labelled by a rank above it"),
    (
        r".*(?: letters? away| is not whole; | within two letters of |: a capital or a digit inside a word| without its space)",
        "misspelling corrected",
    ),
    (r".* is the only name of its genus that begins so", "misspelling corrected"),
    (r".*, as .* ha(?:s|ve) it", "contradictory ranks decided"),
    (r"name .* left out: ", "name not read; labelled by the other columns"),
    (r".* in doubt|.* names no species for certain", "species in doubt or not given; labelled by its genus"),
    (r".* left out: (?:taxonRank says|its rank|it is a )", "cut at the rank that the row states"),
    (r".* taken as ", "placed by the rank that the row or the name tells"),
    (r"epithet .* removed: without its genus|.*left empty: ", "not a name; left empty"),
    (r"cut (?:below|at) ", "cut at the species"),
    (r"authority ", "authority removed"),
    (r"markup|subgenus|remark", "markup, subgenus or remark removed"),
    (r"HTML entities|letters read again", "HTML entities or a wrong encoding mended"),
    (r"genus .* is a family", "a family in the column of the genus"),
    (r".*hybrid mark", "hybrid mark written ×"),
    (r".* in the source's other columns", "taken from the source's other columns"),
    (r"filled in", "ranks filled in from the taxonomy"),
    (r".* (?:written|became) ", "spelling, capitals or remarks"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _KINDS)
_OF_TAXONOMY = "resolved by the taxonomy"


def kind_of(change: str) -> str:
    """Return the kind of a change that a :class:`~bioclip_training.catalog.naming.names.Label` records as a sentence.

    >>> kind_of("authority 'L.' removed")
    'authority removed'
    """
    return next((kind for pattern, kind in _PATTERNS if pattern.match(change)), _OF_TAXONOMY)


def count_label(findings: Findings, label: Label, place: str) -> None:
    """Count what became of a row's name: dropped, or changed, by the kinds of its changes.

    Args:
        place: of the row, for the first example of a dropped one: "row 4 of list.csv".
    """
    if label.taxon.rank is None:
        reason = f"{label.verbatim!r}: {label.unread or PLACEHOLDER}" if label.verbatim else "no name in any column"
        findings.add("rows without a usable name are dropped", f"{place}, {reason}")
        return
    for kind in kinds_of(label.changes):
        findings.add(f"names changed: {kind}", f"{label.verbatim!r} → {label.taxon.scientific_name!r}")


def kinds_of(changes: Iterable[str]) -> Iterator[str]:
    """Yield the kinds of some changes, each once, in their order."""
    yield from dict.fromkeys(map(kind_of, changes))
