"""``labels show``, ``search`` and ``doctor``: looking at a label set without changing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import LabelSetError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.models import find_model
from bioclip_core.next_commands import command
from bioclip_core.nouns import size_of
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.commands.context import EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import filled, force_option, taxon_table_options
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.reporting import console_for, first_of, print_lines, print_table, printable
from bioclip_plugin.commands.taxon_tables import read_checklist

if TYPE_CHECKING:
    from bioclip_core.labels.checklist import Finding
    from bioclip_core.labels.label_set import LabelSet

_SHOWN_HITS = 20
_SHOWN_NAMES = 10
_OUTCOMES = ("named", "genus only", "ambiguous", "masked", "missing")

_model = click.option("--model", help="Model whose own label set is used, if no folder is given.")


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_model
@click.pass_context
def show(ctx: click.Context, folder: Path | None, model: str | None) -> None:
    """Show what a label set holds: labels at each rank, captions, the model it belongs to, masked vectors, size.

    \b
    bioclip-plugin labels show my_labels
    bioclip-plugin labels show --model demo
    """
    labels = _opened(ctx, folder, model)
    manifest, made_for = labels.manifest, labels.manifest["encoder"]
    named = ", ".join(f"{count} {level}" for level, count in _distinct(labels))
    masked = ", ".join(f"{count} {reason}" for reason, count in manifest.get("masked_by", {}).items() if count)
    size = sum(file.stat().st_size for file in (labels.folder or Path()).iterdir() if file.is_file())
    print_lines(
        console_for(),
        f"folder: {labels.folder}",
        f"id: {manifest['id']}",
        f"labels: {len(labels)} of {labels.dimension} numbers",
        f"distinct: {named}",
        f"captions: {manifest.get('captions') or 'none'}",
        f"model: {made_for['source']} (weights {made_for['weights_sha256'][:12]})",
        *(f"block: {text}" for text in _blocks_of(labels)),
        f"masked: {masked or 'none'}",
        f"size: {size_of(size)}",
        f"made at: {manifest.get('made_at', 'unknown')}",
        f"licence: {manifest.get('licence', 'not stated')}",
    )


def _distinct(labels: LabelSet) -> Iterator[tuple[str, int]]:
    """Yield each level with its number of names; plain labels stand at the level of species and are of none."""
    from bioclip_core.labels.label_set import LABEL

    plain = len(labels.plain_rows())
    for level in labels.levels:
        count = int(labels.spans(level).named_S.sum())
        count -= plain if level == "species" else 0
        if count or not plain:
            yield level, count
    if plain:
        yield LABEL, plain


def _blocks_of(labels: LabelSet) -> Iterator[str]:
    """Yield one line per kind of label; a joined set has hundreds of short blocks of a kind."""
    for kind in ("text", "prototype"):
        blocks = [block for block in labels.blocks if block.kind == kind]
        for first in blocks[:1]:
            rows = f"rows {first.start} to {first.stop}"
            if len(blocks) > 1:
                rows = f"{sum(block.stop - block.start for block in blocks)} rows in {len(blocks)} runs"
            yield f"{rows}, {kind}, scale {first.scale:.6g}, bias {first.bias:.6g}"
    if scales := labels.row_scales:
        low, high = min(scales.bias), max(scales.bias)
        weights = labels.blocks[0].scale * min(scales.factor)
        yield f"{len(labels)} rows, probe, weights {weights:.3g} to {labels.blocks[0].scale:.3g} long, biases {low:.3g} to {high:.3g}"


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--labels", "folder", type=click.Path(path_type=Path), help="Folder of the label set.")
@_model
@click.pass_context
def search(ctx: click.Context, names: tuple[str, ...], folder: Path | None, model: str | None) -> None:
    """Search a label set by names: scientific names of any rank and common names, whole or in part, in any letter case.

    \b
    bioclip-plugin labels search "acer palm" lynx --labels my_labels
    """
    from bioclip_core.labels.checklist import find_labels

    labels, console = _opened(ctx, folder, model), console_for()
    columns = ("name", "rank", "labels", "lineage", "common name")
    for name in names:
        hits = find_labels(labels, name)
        if not hits:
            console.print(f"No label has {name!r} in its names.")
        print_table(console, columns, [_hit_row(labels, *hit) for hit in hits[:_SHOWN_HITS]])
        if len(hits) > _SHOWN_HITS:
            console.print(f"and {len(hits) - _SHOWN_HITS} more; give more of the name")


def _hit_row(labels: LabelSet, level: str, row: int, rows: int) -> tuple[object, ...]:
    taxon, rank = labels.taxon_at(row, level)
    usable = labels.usable_N[row : row + rows].any()
    lineage = " ".join(name for name in taxon.lineage[:-1] if name) or "-"
    name = taxon.scientific_name or taxon.common_name
    return name + ("" if usable else " (masked: never an answer)"), rank, rows, lineage, taxon.common_name


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--checklist", type=click.Path(path_type=Path), help="Names to look for: one per line, or a table.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="CSV file to write, with one row per name of the checklist."
)
@taxon_table_options
@force_option
def doctor(folder: Path, checklist: Path | None, output: Path | None, force: bool, **reading: Any) -> int:
    """Check a label set: damaged files, unusable vectors, odd lineages, and how much of a checklist it can name.

    The exit code is 1 if files are damaged, else 0.

    \b
    bioclip-plugin labels doctor my_labels --checklist park_species.csv --output findings.csv
    """
    from bioclip_core.labels.checklist import check_names, health_of
    from bioclip_core.labels.label_set import LabelSet

    if output is not None and checklist is None:
        raise UsageError("--output holds the findings of a checklist: give --checklist FILE too")
    console = console_for()
    with csv_output(output, ("name", "outcome", "detail"), console, force=force) as write:
        options, found = filled(TableOptions, reading), Findings()
        names = list(read_checklist(checklist, found, options)) if checklist else []
        labels = LabelSet.open(folder)
        health = health_of(labels)
        problems = {f"{count} x {problem}": health.examples.get(problem) for problem, count in health.counts.items()}
        print_lines(
            console,
            f"{len(labels)} labels, {int(labels.usable_N.sum())} of them usable",
            *(f"  {text}{': ' + '; '.join(examples) if examples else ''}" for text, examples in problems.items()),
        )
        if checklist is not None:
            findings = check_names(labels, names)
            print_lines(console, *map(printable, found.lines()), *_summary(findings))
            for finding in findings:
                write((finding.name, finding.outcome, finding.detail))
    return EXIT_DONE


def _summary(findings: Sequence[Finding]) -> list[str]:
    totals = Counter(finding.outcome for finding in findings)
    lacking = [finding.name for finding in findings if finding.outcome != "named"]
    return [
        f"Checklist: {len(findings)} names",
        *(f"  {totals[word]} {word} ({totals[word] / max(1, len(findings)):.1%})" for word in _OUTCOMES),
        f"Not named: {first_of(lacking, _SHOWN_NAMES)}" if lacking else "",
    ]


def _opened(ctx: click.Context, folder: Path | None, model: str | None) -> LabelSet:
    """Open the label set in a folder, or the own label set of a model."""
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.running.label_choice import label_folder_here

    if folder is None:
        if model is None:
            raise UsageError("no label set: give its folder, or --model NAME for the one that belongs to a model")
        folder = label_folder_here(find_model(model, plugins_of(ctx).models(), fetch=False))
    if folder is None:
        raise LabelSetError(
            f"the label set of {model} is not on this machine; fetch it with: {command('models fetch', model or 'MODEL')}, "
            "or give a label set's folder"
        )
    return LabelSet.open(folder)
