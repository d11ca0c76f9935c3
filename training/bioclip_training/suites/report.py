"""Report of an evaluation on published sets: one page without scripts or network, with the figures of the papers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isnan
from typing import Any

import numpy as np

from bioclip_core.nouns import number_of
from bioclip_training.evaluation.markup import interval, percent, remark, section, table
from bioclip_training.evaluation.report.style import STYLE
from bioclip_training.suites.names import CAMERA_TRAP_SETS, SUITES
from bioclip_training.suites.published_figures import PUBLISHED, ZERO_SHOT, published_for
from bioclip_training.suites.result import MEASURED, MISSING, Figure, SetResult
from bioclip_training.suites.sets import SETS

_SETS = {one.name: one for one in SETS}
_MAIN = {
    "species": ZERO_SHOT, "newt": "accuracy of the tasks", "fishnet": "exact match of all traits", "awa2": "macro-F1",
    "herbarium-19": "clustering accuracy", "plantdoc": "1-shot accuracy",
}  # fmt: skip
_INTERVAL = "95% interval"
_MEANS = {
    "bioclip": SUITES["bioclip"],
    "bioclip-2": (
        *(name for name in SUITES["bioclip-2"] if name not in CAMERA_TRAP_SETS and _SETS[name].kind == "species"), "camera-traps",
    ),
}  # fmt: skip
"""Columns of each paper's table whose mean it gives."""


def main_figure(result: SetResult) -> Figure | None:
    """Return the figure of a set that the papers' tables have; None without one."""
    return result.figure(_MAIN[_SETS[result.name].kind])


@dataclass(frozen=True, slots=True)
class TableMean:
    """Mean of zero-shot top-1 over the columns of a paper's table."""

    published: float
    corrected: float
    present: int
    columns: int
    other: int
    """Columns that are there, but of another size than the published set, or asked in another way."""

    @property
    def caution(self) -> str:
        """Reason why it cannot stand beside the paper's mean; empty if it can."""
        missing = (
            f"{self.columns - self.present} of {number_of(self.columns, 'column')} missing"
            if self.present < self.columns
            else ""
        )
        other = (
            f"{number_of(self.other, 'column')} of another size, or asked in another way, than published"
            if self.other
            else ""
        )
        reasons = "; ".join(filter(None, (missing, other)))
        return f"not comparable: {reasons}" if reasons else ""


def means_of(results: Sequence[SetResult], suites: Sequence[str]) -> dict[str, TableMean]:
    """Return the means of camera traps, one column of BioCLIP 2's table, and of each paper's table.

    Args:
        results: of the sets.
        suites: names that were asked for; tables that are not among them have no mean.
    """
    values = {}
    for result in results:
        figure = main_figure(result) if result.status == MEASURED else None
        if figure is not None and not isnan(figure.published):
            values[result.name] = (figure.published, figure.corrected, 0 if result.comparable else 1)
    found = {}
    for suite, columns in (("camera-traps", CAMERA_TRAP_SETS), *_MEANS.items()):
        if not {suite, *(["bioclip-2"] if suite == "camera-traps" else [])} & {*suites}:
            continue
        present = [values[name] for name in columns if name in values]
        if present:
            published, corrected, _ = np.mean(present, axis=0).tolist()
            other = sum(of_other_size for _, _, of_other_size in present)
            found[suite] = TableMean(published, corrected, len(present), len(columns), other)
            if len(present) == len(columns):
                values[suite] = (published, corrected, int(other > 0))
    return found


def suite_html(results: Sequence[SetResult], provenance: Mapping[str, Any]) -> str:
    """Return the whole report as HTML."""
    model = provenance["model"]["name"]
    title = f"{model} on published evaluation sets"
    measured = sum(result.status == MEASURED for result in results)
    about = (
        f"{measured} of {number_of(len(results), 'set')} measured. Figures as published repeat the papers' code, defects included, so that "
        "they can be compared with the papers; corrected ones are what the model can do. The intervals are exact 95% ones over "
        "independent groups."
    )
    parts = [
        f"<h1>{escape(title)}</h1>", remark(about), _missing(results), _overview(results), _beside(results, provenance),
        _means(results, provenance),
        *(_set(result) for result in results), _made(provenance),
    ]  # fmt: skip
    body = "\n".join(filter(None, parts))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n<main>{body}</main>\n</body></html>\n"
    )


def _missing(results: Sequence[SetResult]) -> str:
    lines = [
        f"<li><b>{escape(result.title)}</b>: {escape(result.reason)}</li>"
        for result in results
        if result.status != MEASURED
    ]
    if not lines:
        return ""
    missing = sum(result.status == MISSING for result in results)
    heading = f"{number_of(missing, 'set')} missing, {len(lines) - missing} not measured"
    return f'<div class="verdict open"><strong>{heading}</strong><ul>{"".join(lines)}</ul></div>'


def _overview(results: Sequence[SetResult]) -> str:
    rows = []
    for result in results:
        figure = main_figure(result)
        if result.status != MEASURED or figure is None:
            continue
        rows.append(
            [result.title, figure.name, percent(figure.published), interval(figure.published_ci95), percent(figure.corrected),
             interval(figure.corrected_ci95), figure.n, f"{result.classes} {_SETS[result.name].counts}"]
        )  # fmt: skip
    header = ["set", "figure", "as published", _INTERVAL, "corrected", _INTERVAL, "n", "of"]
    asked = "n: tested images, or answers to tasks."
    return (
        section(
            "All sets", table(header, rows, "All sets", wide_only=[_INTERVAL, "n", "of"]), remark(asked), anchor="sets"
        )
        if rows
        else ""
    )


def _beside(results: Sequence[SetResult], provenance: Mapping[str, Any]) -> str:
    """Show ours beside the papers': a table per source, with a column per model."""
    measured = [(result, figure) for result in results for figure in result.figures if not isnan(figure.published)]
    all_comparable = all(result.comparable for result, _ in measured)
    tables = []
    for source in dict.fromkeys(one.source for one in PUBLISHED):
        models = list(dict.fromkeys(one.model for one in PUBLISHED if one.source == source))
        rows = []
        for result, figure in measured:
            theirs = {
                one.model: f"{one.percent:.1f}%"
                for one in published_for(result.name, figure.name)
                if one.source == source
            }
            if theirs:
                rows.append(
                    [
                        f"{result.title}, {figure.name}",
                        percent(figure.published),
                        *(theirs.get(model, "–") for model in models),
                        *([] if all_comparable else ["" if result.comparable else "not comparable"]),
                    ]
                )
        if rows:
            header = ["figure", "this model", *models, *([] if all_comparable else ["caution"])]
            tables += [f"<h3>{escape(source)}</h3>", table(header, rows, source)]
    if not tables:
        return ""
    lines = ["The papers' figures are copied from their source; they are of the whole sets."]
    if not all_comparable:
        lines.append(
            "Not comparable: the folder does not hold the published set, as far as its size is known here, or it was asked in another way; "
            "the section of the set says which."
        )
    if provenance["preprocessing"].get("decode") == "reduced":
        lines.append("Images were decoded at a fraction of their size, the papers' in full: --exact does as they did.")
    return section("Beside the papers", *tables, *map(remark, lines), anchor="papers")


def _means(results: Sequence[SetResult], provenance: Mapping[str, Any]) -> str:
    rows = []
    for suite, mean in means_of(results, provenance["options"]["suites"]).items():
        theirs = "; ".join(f"{one.model} {one.percent:.1f}%" for one in published_for(suite, ZERO_SHOT))
        rows.append(
            [
                suite,
                f"{mean.present} of {mean.columns}",
                percent(mean.published),
                percent(mean.corrected),
                mean.caution or theirs,
            ]
        )
    if not rows:
        return ""
    header = ["table", "columns", "as published", "corrected", "published"]
    return section("Means of zero-shot top-1", table(header, rows, "Means"), anchor="means")


def _set(result: SetResult) -> str:
    if result.status != MEASURED:
        return ""
    about = _SETS[result.name]
    unusable = [
        f"{number_of(held['images'], 'image')} could not be used ({held['stage']}); the first is {held['first']}"
        for held in result.failures
    ]
    groups = (
        f"{result.groups} groups"
        if result.grouped_by == "image"
        else f"{result.groups} groups, each one a {result.grouped_by}"
    )
    size = f"{number_of(result.images, 'image')}, {result.classes} {about.counts}, {groups}, in {result.folder}."
    settings = "".join(f"{name.replace('_', ' ')} {value}, " for name, value in result.settings.items())
    return section(
        result.title,
        f"<p>{escape(size)}</p>", _figures(result),
        _list("Not measured", [f"{figure.name}: {figure.note}" for figure in result.figures if figure.note]),
        _list("How", _how(result.figures)),
        _list("What was wrong", about.wrong),
        _list("Noticed", [*unusable, *result.findings]),
        _details(result),
        remark(f"{settings}data: {about.page} (licence: {about.licence}), sha256 of names, labels and bytes {result.data_id}."),
        anchor=result.name,
    )  # fmt: skip


def _figures(result: SetResult) -> str:
    rows = [
        [figure.name, percent(figure.published), interval(figure.published_ci95), percent(figure.spread), percent(figure.corrected),
         interval(figure.corrected_ci95), figure.n, figure.groups]
        for figure in result.figures if not (isnan(figure.published) and isnan(figure.corrected))
    ]  # fmt: skip
    header = ["figure", "as published", _INTERVAL, "spread", "corrected", _INTERVAL, "n", "groups"]
    return table(header, rows, result.title, wide_only=["spread", "n", "groups"]) if rows else ""


def _how(figures: Sequence[Figure]) -> list[str]:
    """Return how figures are computed, with the names of those that are computed alike."""
    names_of: dict[str, list[str]] = {}
    for figure in figures:
        published = f"as published, {figure.published_as}; corrected, " if figure.published_as else ""
        if figure.corrected_as:
            names_of.setdefault(f"{published}{figure.corrected_as}", []).append(figure.name)
    return [f"{', '.join(names)}: {how}" for how, names in names_of.items()]


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h3>{title}</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _details(result: SetResult) -> str:
    """Show the figures of parts: tasks by their cluster, or attributes one by one."""
    held = result.details
    if clusters := held.get("by_cluster"):
        return table(
            ["cluster of tasks", "mean over its tasks"],
            [[name, percent(value)] for name, value in clusters.items()],
            "Clusters",
        )
    parts = held.get("attributes") or held.get("traits")
    if not parts:
        return ""
    rows = [
        [name, percent(one["f1"]), percent(one["right"]), percent(one["share_with_it"])] for name, one in parts.items()
    ]
    how = "Of the corrected answers, the mean of the runs, to the tested images. Those that all or none of these have are not judged."
    return table(["attribute", "F1", "right", "images with it"], rows, "Attributes", tall=True) + remark(how)


def _made(provenance: Mapping[str, Any]) -> str:
    model = provenance["model"]
    rows = {
        "model": ", revision ".join(filter(None, (model["source"], model["revision"]))),
        "weights": model["weights_sha256"],
        "preprocessing": ", ".join(f"{name} {value}" for name, value in provenance["preprocessing"].items()),
        "computed on": provenance["device"],
        "options": ", ".join(
            f"{name} {value}" for name, value in provenance["options"].items() if value not in (None, [], ())
        ),
        "versions": ", ".join(f"{name} {value}" for name, value in provenance["versions"].items()),
        "made": provenance["made_at"],
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return section("What was evaluated", f"<dl>{listed}</dl>", anchor="evaluated")
