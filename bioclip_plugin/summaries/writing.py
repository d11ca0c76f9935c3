"""Figures in a folder: tables, pictures in a light and a dark variant, and the summary."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bioclip_core.errors import BioclipError
from bioclip_core.files.whole import check_folder, whole_folder
from bioclip_core.process.quiet import importing, quiet
from bioclip_core.progress import Progress, silent
from bioclip_plugin.formats.shared.exported import guarded
from bioclip_plugin.summaries.making import Figure, Made
from bioclip_plugin.summaries.options import FIGURES, FORMATS, FigureOptions

SUMMARY = "summary.txt"
_TABLES = (*FIGURES, "richness", "disagreements")
OURS = frozenset(
    [SUMMARY, *(f"{name}{dark}.{ending}" for name in _TABLES for ending in FORMATS for dark in ("", "-dark"))]
)
"""Names of the files that an earlier output may have."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The written files."""

    tables: tuple[str, ...]
    pictures: tuple[str, ...]


def check_figures(output: Path, options: FigureOptions, *, force: bool) -> None:
    """Refuse an output folder that cannot be written, and pictures without matplotlib, before the work is done.

    Raises:
        BioclipError: with the way out.
    """
    if set(options.endings) - {"csv"} and find_spec("matplotlib") is None:
        raise BioclipError(
            "figures are drawn with matplotlib, which is not installed; install it with: pip install 'bioclip-plugin[train]', or "
            "write the tables alone with --format csv"
        )
    check_folder(output, force=force, ours=OURS)


def write_figures(
    output: Path, made: Made, options: FigureOptions, *, force: bool = False, progress: Progress = silent
) -> Drawn:
    """Write figures into a folder, which is whole or absent.

    Args:
        output: the folder; an earlier one of figures is replaced with ``force``.
        made: the figures.
        options: formats and variants.
        force: replace an earlier output.
        progress: called with the figures written.

    Raises:
        BioclipError: if the folder may not be written.
    """
    tables, pictures = [], []
    with whole_folder(output, partial(check_folder, output, force=force, ours=OURS)) as draft:
        for done, (name, figure) in enumerate(made.figures.items()):
            progress(done, len(made.figures))
            if "csv" in options.endings:
                write_table(draft / f"{name}.csv", figure)
                tables.append(f"{name}.csv")
            for file, content in pictures_of(name, figure, options).items():
                (draft / file).write_bytes(content)
                pictures.append(file)
        (draft / SUMMARY).write_text("".join(f"{line}\n" for line in summary_of(made)), encoding="utf-8")
        progress(len(made.figures), len(made.figures))
    return Drawn(tuple(tables), tuple(pictures))


def summary_of(made: Made) -> list[str]:
    """Return what was counted, what was left out and why, and figures that could not be made."""
    absent = [f"No figure {name}: {reason}" for name, reason in made.absent.items()]
    return [*made.lines, *made.findings.lines(), *absent]


def write_table(path: Path, figure: Figure) -> None:
    """Write a figure as CSV in UTF-8; texts that a spreadsheet would take for formulas begin with an apostrophe."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(figure.columns)
        for row in figure.rows():
            table.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in row.values()])


def pictures_of(name: str, figure: Figure, options: FigureOptions) -> dict[str, bytes]:
    """Return a figure's pictures by file name; none for a figure that is a table only."""
    endings = [ending for ending in options.endings if ending != "csv"]
    if not endings:
        return {}
    with importing():
        import matplotlib.figure  # noqa: F401
    from bioclip_plugin.summaries.drawing import THEMES
    from bioclip_plugin.summaries.pictures import drawn

    found: dict[str, bytes] = {}
    with quiet():  # matplotlib warns about letters that its font lacks
        for theme in options.themes:
            dark = "-dark" if theme == "dark" else ""
            files = drawn(name, figure, THEMES[theme], endings, options.rule_of_events)
            found.update({f"{name}{dark}.{ending}": content for ending, content in (files or {}).items()})
    return found
