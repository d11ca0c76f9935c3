"""Tables of an ablation in Markdown: accuracy of each arm with its interval, and its difference from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bioclip_core.captions import Caption
from bioclip_core.nouns import number_of
from bioclip_training.ablation.answers import Test
from bioclip_training.ablation.results import NOT_TOLD_APART, Figure, Results
from bioclip_training.evidence.intervals import Interval
from bioclip_training.evidence.minima import Evidence

_RUNS_DIFFER = "how much another training run changes it is the range of the seeds."
_ONE_RUN = "how much another training run changes it is not known, since each arm was trained once."


def page(results: Results, ranks: Sequence[str] = ("label",)) -> str:
    """Return the report: for each test a table of arms by captions, and one of differences from the baseline."""
    config = results.config
    missing = [seed for seed in config.seeds if seed not in results.seeds]
    same = [
        f"{', '.join(arm.also)}: as {arm.name}, since they train the same model" for arm in results.arms if arm.also
    ]
    lines = [
        "# Ablation",
        "",
        f"{config.data.name}, from {config.start}, {config.train['steps']} steps, "
        f"{number_of(len(results.arms), 'arm')}, seeds {', '.join(map(str, results.seeds)) or 'none yet'}. "
        f"Baseline: {results.arms[0].name}.",
    ]
    if missing:
        lines += [
            "",
            f"Not counted yet, since not every arm is trained with them: seeds {', '.join(map(str, missing))}.",
        ]
    lines += [line for remark in (*same, *_failures(results), *results.remarks) for line in ("", f"{remark}.")]
    figures = results.figures(ranks)
    for test in results.tests:
        for rank in ranks:
            own = [one for one in figures if one.test == test.name and one.rank == rank]
            if own:
                lines += ["", *_section(results, test, rank, own)]
    if figures:
        lines += ["", *_remarks(results, figures)]
    return "\n".join(lines) + "\n"


def _failures(results: Results) -> list[str]:
    """Return a sentence per arm with failed runs; an arm without any other run is not in the tables."""
    by_arm: dict[str, dict[int, str]] = {}
    for (arm, seed), reason in results.failed.items():
        by_arm.setdefault(arm, {})[seed] = reason
    return [
        f"{arm} failed with {number_of(len(of), 'seed')} ({', '.join(map(str, of))}): {next(iter(of.values()))}"
        for arm, of in by_arm.items()
    ]


def _section(results: Results, test: Test, rank: str, own: Sequence[Figure]) -> list[str]:
    captions = [caption for caption in results.config.captions if any(one.caption == caption for one in own)]
    by_cell = {(one.arm, one.caption): one for one in own}
    first = own[0]
    title = "" if rank == "label" else f", right at {rank}"
    head = ["arm", *captions]
    right, change = [], []
    for arm in results.arms:
        cells = [by_cell[arm.name, caption] for caption in captions]
        right.append(
            [arm.name, *(f"{_percent(one.top1)} {_ends(one.top1_ci95, signed=False)}{_spread(one)}" for one in cells)]
        )
        if arm is not results.arms[0]:
            change.append(
                [
                    arm.name,
                    *(
                        f"{_percent(one.difference, '+')} {_ends(one.difference_ci95, signed=True)} {one.verdict}"
                        for one in cells
                    ),
                ]
            )
    evidence = Evidence.of(test.name, test.group_N[~test.left_out_N].tolist())
    untrained = " and that none is trained on" if test.left_out_N.any() else ""
    lines = [
        f"## {test.name}: {test.split} of {test.catalog.file.name}{title}", "",
        f"{first.images} of {number_of(len(test.rows_N), 'image')} (those that every model could read{untrained}), "
        f"{number_of(len(test.catalog.taxa), 'label')}. {evidence.shows}.", "",
    ]  # fmt: skip
    for caption in captions:
        if count := test.without(Caption(caption)):
            lines += [
                f"{number_of(count, 'label')} of {len(test.catalog.taxa)} without the caption {caption}: they have their taxonomic one.",
                "",
            ]
    spread = ", and the range of the seeds" if first.seeds > 1 else ""
    lines += [
        f"Top-1 in percent with its 95% interval over groups of images{spread}; columns: captions of the labels.",
        "",
    ]
    lines += [
        *_table(head, right),
        "",
        f"Difference from {results.arms[0].name} in percentage points, on the same images and seeds:",
        "",
    ]
    return [*lines, *_table(head, change)]


def _remarks(results: Results, figures: Sequence[Figure]) -> list[str]:
    compared = [one for one in figures if one.arm != results.arms[0].name]
    told = sum(one.verdict != NOT_TOLD_APART for one in compared)
    by_chance = 0.05 * len(compared)
    lines = [
        f"Differences that exclude zero: {told} of {len(compared)}; if nothing mattered, about {by_chance:.1f} would by chance. "
        f"An interval says how much other images could change a figure; {_RUNS_DIFFER if len(results.seeds) > 1 else _ONE_RUN}"
    ]
    if len(results.seeds) < 3:
        lines.append(
            f"With {number_of(len(results.seeds), 'seed')} the difference of two arms can be luck of the training: give three or more."
        )
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(map(_cell, line))} |" for line in (head, ["---"] * len(head), *rows)]


def _cell(text: str) -> str:
    """Return a text that stays one cell: a bar in the name of an arm would begin another one."""
    return " ".join(text.split()).replace("|", "\\|")


def _percent(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.1f}"


def _ends(interval: Interval, *, signed: bool) -> str:
    if any(math.isnan(end) for end in interval):
        return "[no interval: one group]"
    sign = "+" if signed else ""
    return f"[{', '.join(_percent(end, sign) for end in interval)}]"


def _spread(one: Figure) -> str:
    return "" if one.seeds < 2 else f", seeds {_percent(one.lowest)} to {_percent(one.highest)}"
