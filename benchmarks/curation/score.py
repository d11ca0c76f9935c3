"""All scores of a curation as one document, and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.curation import drops, duplicates, labels, leaks
from benchmarks.curation.duplicates import Pairs
from benchmarks.curation.joined import Joined
from benchmarks.curation.labels import Labels

LEAST_LABELS, LEAST_EXACT, LEAST_NEAR = 0.99, 1.0, 0.95


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that issue 15 asks for."""

    name: str
    value: float
    wanted: str
    is_met: bool


def scores(joined: Joined) -> dict[str, Any]:
    """Return every score as plain values."""
    false = duplicates.false_drops(joined)
    return {
        "records": {
            "rendered": len(joined.told),
            "in the catalog": sum(1 for _ in joined.known()),
            "in a split": sum(one.is_kept for one in joined.told),
            "without a row by design": sum(one.true["state"] == "unlisted" for one in joined.told),
            "not in the truth": len(joined.extra),
        },
        "not_curated": list(joined.not_curated),
        "targets": [asdict(one) for one in targets(joined)],
        "labels": _labels(labels.recoverable(joined)),
        "labels_by_source": {name: _labels(one) for name, one in labels.by_source(joined).items()},
        "labels_by_kind": {name: _labels(one) for name, one in labels.by_kind(joined).items()},
        "unrecoverable": {name: _labels(one) for name, one in labels.unrecoverable(joined).items()},
        "hemihomonyms": _labels(labels.hemihomonyms(joined)),
        "exact": _pairs(duplicates.exact(joined)),
        "near": _pairs(duplicates.near(joined)),
        "near_by_kind": {name: _pairs(one) for name, one in duplicates.near_by_kind(joined).items()},
        "duplicates_left": duplicates.left(joined),
        "false_duplicates": {
            "records": len(false),
            "examples": [f"{one.true['source']}/{one.true['uri']}" for one in false[:5]],
        },
        "leaks": {name: asdict(one) for name, one in leaks.leaks(joined).items()},
        "drops": {name: asdict(one) for name, one in drops.drops(joined).items()},
        "kept_in_spite": {
            name: {"records": records, "kept": kept} for name, (records, kept) in drops.kept_in_spite(joined).items()
        },
    }


def targets(joined: Joined) -> list[Target]:
    """Return the figures that a curation must reach."""
    found, exact, near = labels.recoverable(joined), duplicates.exact(joined), duplicates.near(joined)
    left = leaks.left(joined)
    return [
        Target("label precision", found.precision, f"≥ {LEAST_LABELS}", found.precision >= LEAST_LABELS),
        Target("label recall", found.recall, f"≥ {LEAST_LABELS}", found.recall >= LEAST_LABELS),
        Target("duplicates of equal bytes found", exact.recall, f"= {LEAST_EXACT}", exact.recall >= LEAST_EXACT),
        Target("near duplicates found", near.recall, f"≥ {LEAST_NEAR}", near.recall >= LEAST_NEAR),
        Target("planted leaks left", float(left), "= 0", left == 0),
    ]


def page(found: Mapping[str, Any], *, faults: bool = True) -> str:
    """Return the scores as Markdown.

    Args:
        found: of :func:`scores`.
        faults: list the first faults of each kind at the end.
    """
    return "\n".join((*_lines(found), *(_faults(found) if faults else ()))) + "\n"


def _labels(one: Labels) -> dict[str, Any]:
    return {**asdict(one), "precision": one.precision, "recall": one.recall}


def _pairs(one: Pairs) -> dict[str, Any]:
    return {**asdict(one), "precision": one.precision, "recall": one.recall}


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield "# Curation against the truth\n"
    yield "; ".join(f"{name}: {number}" for name, number in found["records"].items()) + "\n"
    if found["not_curated"]:
        yield f"Not in the catalog and not scored: {', '.join(found['not_curated'])}\n"
    yield from _table(("target", "value", "wanted", "met"), [
        (one["name"], f"{one['value']:.4f}", one["wanted"], "yes" if one["is_met"] else "NO") for one in found["targets"]
    ])  # fmt: skip
    yield "## Labels at the rank of species (recoverable records)\n"
    yield from _label_table(
        {"all": found["labels"], **found["labels_by_source"], "hemihomonyms": found["hemihomonyms"]}
    )
    yield "## Labels by kind of dirt\n"
    yield from _label_table(found["labels_by_kind"])
    yield "## Labels of unrecoverable records, which are guesses\n"
    yield from _label_table(found["unrecoverable"])
    yield "## Duplicates\n"
    rows = {"equal bytes": found["exact"], "near, all": found["near"], **found["near_by_kind"]}
    yield from _table(("pairs", "planted", "found", "recall", "false pairs"), [
        (name, one["planted"], one["found"], f"{one['recall']:.4f}", one["false"]) for name, one in rows.items()
    ])  # fmt: skip
    false = found["false_duplicates"]["records"]
    yield f"Duplicates left in a split: {found['duplicates_left']}; records left out for another picture: {false}\n"
    yield "## Leaks\n"
    yield from _table(("leak", "planted", "found", "left", "of these hidden", "false"), [
        (name, one["planted"], one["found"], one["left"], one["hidden"], one["false"]) for name, one in found["leaks"].items()
    ])  # fmt: skip
    yield "## Left out\n"
    yield from _table(("reason", "records", "the truth agrees"), [
        (name, one["records"], one["agreed"]) for name, one in found["drops"].items()
    ])  # fmt: skip
    yield from _table(("should be left out", "records", "in a split"), [
        (name, one["records"], one["kept"]) for name, one in found["kept_in_spite"].items()
    ])  # fmt: skip


def _faults(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## First faults of each kind\n"
    for name, one in {**found["labels_by_kind"], **found["leaks"], **found["drops"]}.items():
        for example in one["examples"]:
            yield f"- {name}: {example}"


def _label_table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    header = ("records of", "records", "labelled", "right", "precision", "recall", "lineage right", "common name right")
    cells = ("records", "given", "right", "precision", "recall", "lineages", "common")
    yield from _table(header, [(name, *(_shown(one[cell]) for cell in cells)) for name, one in rows.items()])


def _shown(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""
