"""The sections of the trainer on the page of ``benchmarks.scale``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.training_cells import ARCHITECTURE, BATCH, BUDGET_GIB, MEMORY_MODELS, PRECISIONS
from benchmarks.training_savings import SAVINGS, SIDES

Cells = Mapping[str, Mapping[str, Any]]


def sections(cells: Cells) -> list[str]:
    """Return the sections for which a cell is finished."""
    return [text for text in (_of_savings(cells), _of_memory(cells)) if text]


def _of_savings(cells: Cells) -> str:
    measured = {number: cells.get(f"training-savings-{number}") for number in PRECISIONS}
    if not any(measured.values()):
        return ""
    columns = [f"{number}, {words}" for number in PRECISIONS for words in SIDES.values()]
    lines = [
        f"## Trainer: what each saving gives ({ARCHITECTURE}, batch {BATCH})",
        "",
        "Time of a step without the saving divided by that of an adjacent step with all of them; medians of pairs and quartiles.",
        "",
        "| saving | " + " | ".join(columns) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for saving in SAVINGS:
        gains = [_gain(measured[number], saving.words, side) for number in PRECISIONS for side in SIDES]
        lines.append(f"| {saving.words} | " + " | ".join(gains) + " |")
    seconds = [
        f"{number} {_step_s(one):.2f} s per step, commit {one['commit']}, load {one['load']:.1f}"
        for number, one in measured.items()
        if one
    ]
    return "\n".join(
        [*lines, "", "; ".join(seconds) + ". `python -m benchmarks.training_cells training-savings fp32|bf16`."]
    )


def _step_s(measured: Mapping[str, Any]) -> float:
    return float(next(iter(measured["savings"].values()))["wall_s"]["with_s"]["median"])


def _gain(measured: Mapping[str, Any] | None, words: str, side: str) -> str:
    spread = (measured or {}).get("savings", {}).get(words, {}).get(side, {}).get("ratio")
    return f"{spread['median']:.2f}× ({spread['q1']:.2f}–{spread['q3']:.2f})" if spread else "–"


def _of_memory(cells: Cells) -> str:
    names = {(model, number): f"training-memory-{model}-{number}" for model in MEMORY_MODELS for number in PRECISIONS}
    rows = [
        _memory_row(model, number, mode, values)
        for (model, number), name in names.items()
        for mode, values in cells.get(name, {"modes": {}})["modes"].items()
    ]
    if not rows:
        return ""
    lines = [
        f"## Trainer: memory of a step, and the largest batch in {BUDGET_GIB:g} GiB",
        "",
        "Highest resident memory of a process in steps of two sizes. The memory of one image at once is the slope between them, or the "
        "values that a forward pass keeps for it if these are more; the largest batch follows from it and was not tried. Weights, "
        "gradients and moments are fp32 in bf16 too.",
        "",
        "| model | precision | way | measured batches, GiB | without images, GiB | MiB per image at once | largest batch |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    return "\n".join([*lines, *rows, "", "`python -m benchmarks.training_cells training-memory MODEL PRECISION`."])


def _memory_row(model: str, number: str, mode: str, values: Mapping[str, Any]) -> str:
    both = ", ".join(f"{batch}: {gib:.2f}" for batch, gib in zip(values["batches"], values["gib"], strict=True))
    figures = [both, f"{values['fixed_gib']:.2f}", f"{values['mib_per_image']:.1f}", f"{values['largest']:,}"]
    return f"| {model} | {number} | {mode} | " + " | ".join(figures) + " |"
