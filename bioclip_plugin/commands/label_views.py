"""``labels show``, ``search`` and ``doctor``: looking at a label set without changing it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import LabelSetError, UsageError
from bioclip_core.identity import sha256_of
from bioclip_plugin.cli import EXIT_COULD_NOT_RUN, EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import force_option
from bioclip_plugin.commands.reporting import console_for, print_table, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bioclip_core.labels.checklist import Finding
    from bioclip_core.labels.label_set import LabelSet

_SHOWN_HITS = 20
_SHOWN_NAMES = 10
_OUTCOMES = ("named", "genus only", "ambiguous", "masked", "missing")

_model = click.option("--model", help="The label set that belongs to this model, where no folder is given.")


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_model
@click.pass_context
def show(ctx: click.Context, folder: Path | None, model: str | None) -> int:
    """Show what a label set holds: labels at each rank, captions, the model it belongs to, masked vectors, size.

    \b
    bioclip-plugin labels show my_labels
    bioclip-plugin labels show --model demo
    """
    labels = _opened(ctx, folder, model)
    manifest, console = labels.manifest, console_for()
    made_for = manifest["encoder"]
    named = ", ".join(f"{int(labels.spans(level).named_S.sum())} {level}" for level in labels.levels)
    masked = ", ".join(f"{count} {reason}" for reason, count in manifest.get("masked_by", {}).items() if count)
    size = sum(file.stat().st_size for file in (labels.folder or Path()).iterdir() if file.is_file())
    for name, value in (
        ("folder", labels.folder),
        ("id", manifest["id"]),
        ("labels", f"{len(labels)} of {labels.dimension} numbers"),
        ("distinct", named),
        ("captions", manifest.get("captions", "none")),
        ("model", f"{made_for['source']} (weights {made_for['weights_sha256'][:12]})"),
        *_scales_of(labels),
        ("masked", masked or "none"),
        ("size", size_of(size)),
        ("made at", manifest.get("made_at", "unknown")),
        ("licence", manifest.get("licence", "not stated")),
    ):  # fmt: skip
        console.print(f"{name}: {value}")
    return EXIT_DONE


def _scales_of(labels: LabelSet) -> list[tuple[str, str]]:
    """A line a block; of a joined set, which has hundreds of short ones, a line a kind."""
    blocks = {kind: [block for block in labels.blocks if block.kind == kind] for kind in ("text", "prototype")}
    lines = []
    for kind, own in blocks.items():
        if not own:
            continue
        rows = f"rows {own[0].start} to {own[0].stop}"
        if len(own) > 1:
            rows = f"{sum(block.stop - block.start for block in own)} rows in {len(own)} runs"
        lines.append(("block", f"{rows}, {kind}, scale {own[0].scale:.6g}, bias {own[0].bias:.6g}"))
    return lines


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--labels", "folder", type=click.Path(path_type=Path), help="The label set's folder.")
@_model
@click.pass_context
def search(ctx: click.Context, names: tuple[str, ...], folder: Path | None, model: str | None) -> int:
    """Look names up in a label set: scientific names of any rank and common names, whole or in part, without case.

    \b
    bioclip-plugin labels search "acer palm" lynx --labels my_labels
    """
    labels = _opened(ctx, folder, model)
    console = console_for()
    for name in names:
        hits = find_labels(labels, name)
        if not hits:
            console.print(f"No label has {name!r} in its names.")
        print_table(console, ("name", "rank", "labels", "lineage", "common name"),
                    [_hit_row(labels, *hit) for hit in hits[:_SHOWN_HITS]])  # fmt: skip
        if len(hits) > _SHOWN_HITS:
            console.print(f"and {len(hits) - _SHOWN_HITS} more; give more of the name")
    return EXIT_DONE


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--checklist", type=click.Path(path_type=Path), help="Names to look for: a name a line, or a .csv or .tsv table."
)
@click.option("--output", type=click.Path(path_type=Path), help="Write a CSV with a row a name of the checklist.")
@force_option
def doctor(folder: Path, checklist: Path | None, output: Path | None, force: bool) -> int:
    """Check a label set: damaged files, unusable vectors, odd lineages, and how much of a checklist it can name.

    The exit code is 1 where files are damaged, 0 otherwise.

    \b
    bioclip-plugin labels doctor my_labels --checklist park_species.csv --output findings.csv
    """
    from bioclip_core.files.whole import check_output
    from bioclip_core.labels.checklist import check_names, health_of
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.commands.training.taxon_tables import read_checklist

    if output is not None and checklist is None:
        raise UsageError("--output holds the findings of a checklist: give --checklist FILE too")
    if output is not None:
        check_output(output, force=force)
    names = list(read_checklist(checklist)) if checklist else []
    labels, console = LabelSet.open(folder), console_for()
    damaged = _say_damage(console, labels)
    health = health_of(labels)
    console.print(f"{len(labels)} labels, {int(labels.usable_N.sum())} of them usable")
    for problem, count in health.counts.items():
        examples = "; ".join(health.examples.get(problem, []))
        console.print(f"  {count} x {problem}{': ' + examples if examples else ''}")
    if checklist is not None:
        findings = check_names(labels, names)
        _say_findings(console, findings)
        if output is not None:
            _write_findings(output, findings, force=force)
            console.print(f"Output: {output}")
    return EXIT_COULD_NOT_RUN if damaged else EXIT_DONE


def find_labels(labels: LabelSet, text: str) -> list[tuple[str, int, int]]:
    """Taxa with the text in their name: (level, first row, rows), whole names first, then beginnings, then parts.

    A species is found by its epithet, by parts of both words of its binomial ("acer palm"), and by its common name.
    """
    wanted = " ".join(text.lower().split())
    if not wanted:
        return []
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for level in labels.levels:
        spans = labels.spans(level)
        for place in _matching_spans(labels, level, wanted):
            start, stop = int(spans.starts_S[place]), int(spans.ends_S[place])
            found[level, start] = (stop - start, _distance(labels, level, start, wanted))
    order = sorted(found, key=lambda key: (found[key][1], labels.levels.index(key[0]), key[1]))
    return [(level, start, found[level, start][0]) for level, start in order]


def _matching_spans(labels: LabelSet, level: str, wanted: str) -> list[int]:
    """The spans of a level that have a name there with the text in it."""
    import numpy as np

    spans = labels.spans(level)
    starts = spans.starts_S
    words = wanted.split()
    if level in ("species", "label"):
        matches = np.isin(labels.codes("common_name")[starts], _codes_with(labels, "common_name", wanted))
        if level == "species":
            genus, epithet = labels.codes("genus")[starts], labels.codes("species")[starts]
            whole = np.isin(epithet, _codes_with(labels, "species", wanted))
            binomial = np.isin(genus, _codes_with(labels, "genus", words[0])) & np.isin(
                epithet, _codes_with(labels, "species", " ".join(words[1:]))
            )
            matches |= (whole | (binomial if len(words) > 1 else False)) & spans.named_S
    else:
        matches = np.isin(labels.codes(level)[starts], _codes_with(labels, level, wanted)) & spans.named_S
    return [int(place) for place in np.flatnonzero(matches)]


def _codes_with(labels: LabelSet, column: str, text: str) -> list[int]:
    names = labels.column(column).dictionary.to_pylist()
    return [code for code, name in enumerate(names) if name and text in name.lower()]


def _distance(labels: LabelSet, level: str, row: int, wanted: str) -> int:
    """0 for a whole name, 1 for the beginning of a name or of a word of it, 2 for a part."""
    taxon, _ = labels.taxon_at(row, level)
    names = [name.lower() for name in (taxon.scientific_name, taxon.common_name) if name]
    if wanted in names:
        return 0
    return 1 if any(f" {name}".find(f" {wanted}") >= 0 for name in names) else 2


def _hit_row(labels: LabelSet, level: str, row: int, rows: int) -> tuple[object, ...]:
    taxon, rank = labels.taxon_at(row, level)
    usable = labels.usable_N[row : row + rows].any()
    lineage = " ".join(name for name in taxon.lineage[:-1] if name) or "-"
    name = taxon.scientific_name or taxon.common_name
    return name + ("" if usable else " (masked: never an answer)"), rank, rows, lineage, taxon.common_name


def _opened(ctx: click.Context, folder: Path | None, model: str | None) -> LabelSet:
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_core.models import find_model
    from bioclip_plugin.commands.models import label_folder_here

    if folder is not None:
        return LabelSet.open(folder)
    if model is None:
        raise UsageError("no label set: give its folder, or --model NAME for the one that belongs to a model")
    found = find_model(model, plugins_of(ctx).models(), fetch=False)
    here = label_folder_here(found)
    if here is None:
        raise LabelSetError(
            f"the label set of {model} is not on this machine; fetch it with: bioclip-plugin models fetch {model}, "
            "or give a label set's folder"
        )
    return LabelSet.open(here)


def _say_damage(console: Console, labels: LabelSet) -> bool:
    """Compare the files with the sums in the manifest; whether one of them differs."""
    assert labels.folder is not None
    damaged = False
    for name, expected in labels.manifest.get("sha256", {}).items():
        if sha256_of(labels.folder / name) != expected:
            console.print(
                f"Damaged: {labels.folder / name} is not the file that was made; build or import the label set again"
            )
            damaged = True
    return damaged


def _say_findings(console: Console, findings: Sequence[Finding]) -> None:
    totals = Counter(finding.outcome for finding in findings)
    whole = max(1, len(findings))
    console.print(f"Checklist: {len(findings)} names")
    for outcome in _OUTCOMES:
        console.print(f"  {totals[outcome]} {outcome} ({totals[outcome] / whole:.1%})")
    lacking = [finding.name for finding in findings if finding.outcome != "named"]
    if lacking:
        more = f" and {len(lacking) - _SHOWN_NAMES} more" if len(lacking) > _SHOWN_NAMES else ""
        console.print(f"Not named: {', '.join(lacking[:_SHOWN_NAMES])}{more}")


def _write_findings(output: Path, findings: Sequence[Finding], *, force: bool) -> None:
    from bioclip_core.files.whole import whole_file
    from bioclip_plugin.formats.tables.write import spreadsheet_safe

    with whole_file(output, force=force) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        table: Any = csv.writer(file)
        table.writerow(["name", "outcome", "detail"])
        table.writerows(
            [spreadsheet_safe(finding.name), finding.outcome, spreadsheet_safe(finding.detail)] for finding in findings
        )
