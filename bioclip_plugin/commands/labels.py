"""``bioclip-plugin labels``: making label sets; ``label_views`` has the commands that only look at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.captions import Caption
from bioclip_core.device import PRECISIONS, choose_compute
from bioclip_core.errors import LabelSetError
from bioclip_core.findings import Findings
from bioclip_core.models import find_model
from bioclip_core.naming.options import NameOptions
from bioclip_core.next_commands import command, next_lines
from bioclip_core.tables.options import TableOptions
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.label_views import doctor, search, show
from bioclip_plugin.commands.options import (
    device_option,
    filled,
    model_option,
    options_from,
    output_option,
    taxon_table_options,
)
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, log_lines, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.taxon_tables import read_taxa
from bioclip_training.catalog.naming.name_decisions import NameDecisions

if TYPE_CHECKING:
    from bioclip_core.labels.building import Built
    from bioclip_core.labels.label_set import LabelSet

_output = output_option("Folder of the label set, new or unfinished.")


@click.group()
def labels() -> None:
    """Build, import, search and check label sets: the names that a model can answer with.

    \b
    bioclip-plugin labels build species.csv --model demo --output my_labels
    bioclip-plugin labels search lynx --labels my_labels
    """


for _view in (show, search, doctor):
    labels.add_command(_view)


@labels.command("build")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...", type=click.Path(path_type=Path))
@model_option
@_output
@click.option(
    "--caption",
    type=click.Choice([kind.value for kind in Caption]),
    default=Caption.TAXONOMIC.value,
    show_default=True,
    help="Caption that the text tower reads; templates is the mean of 81 prompts and takes 81 times as long.",
)
@device_option
@click.option(
    "--precision",
    type=click.Choice(("auto", *PRECISIONS)),
    default="fp32",
    show_default=True,
    help="Precision of the text tower; auto is bf16 on a device that multiplies it natively, else fp32.",
)
@options_from(NameOptions)
@taxon_table_options
@click.pass_context
def build(
    ctx: click.Context, /, tables: tuple[Path, ...], model: str, output: Path, caption: str, device: str, precision: str,
    **reading: Any,
) -> None:  # fmt: skip
    """Build a label set from tables of taxa (.csv, .tsv, .xlsx, .parquet) with the model's text tower.

    Columns are found by their names, in any letter case: kingdom, phylum, class, order, family, genus, species or
    specificEpithet, scientificName; vernacularName or common_name; taxonID. Several tables are joined, and rows of one
    taxon are one label, also if ranks are missing in some. A catalog of `catalog build` gives its taxa as they are. After an
    interruption the same command continues.

    \b
    bioclip-plugin labels build leaves.csv fish.csv --model bioclip-2 --output my_labels
    bioclip-plugin labels build taxa.xlsx --column scientificName=Taxon --model bioclip-2 --output my_labels
    """
    from bioclip_core.labels.building import build_label_set
    from bioclip_core.open_clip_encoder import open_encoder

    console = console_for()
    names = NameDecisions(filled(NameOptions, reading))
    options, findings = filled(TableOptions, reading), Findings()
    rows = chain.from_iterable([_taxa_of(table, findings, options, names) for table in tables])
    compute = choose_compute(device, precision)
    compute = replace(compute, text_precision=compute.precision)
    encoder = open_encoder(find_model(model, plugins_of(ctx).models()), compute)
    console.print(f"Model {model} on {compute.described()}")
    line = ProgressLine("Building", unit="labels", console=console, resumed=True)
    try:
        with log_lines(console), interruptible(console, "The same command continues."), line:
            built = build_label_set(rows, encoder, output, caption=Caption(caption), progress=line.reach)
    except OSError as error:
        raise LabelSetError(
            f"label set {output} cannot be written: {error.strerror or error}; the same command continues"
        ) from error
    _summarise(console, built, line)
    names.report(findings)
    print_lines(console, *map(printable, findings.lines()))
    _print_next(console, built.labels, output, model)


def _taxa_of(table: Path, findings: Findings, options: TableOptions, names: NameDecisions) -> Iterable[Taxon]:
    """Return the taxa of a table; those of a catalog were read when it was built, and words without a genus are among them."""
    from bioclip_training.catalog.rows import Catalog, is_catalog

    if not options.column and is_catalog(table):
        return [taxon for taxon in Catalog.open(table).taxa if taxon.rank is not None]
    return read_taxa(table, findings, options, names)


@labels.command("import")
@click.argument("embeddings", type=click.Path(path_type=Path), metavar="EMBEDDINGS.npy")
@click.argument("names", type=click.Path(path_type=Path), metavar="NAMES.json")
@model_option
@_output
@click.pass_context
def import_labels(ctx: click.Context, embeddings: Path, names: Path, model: str, output: Path) -> None:
    """Import label files as TreeOfLife publishes them: D x N numbers, and [[seven ranks], common name] per column.

    \b
    bioclip-plugin labels import txt_emb_species.npy txt_emb_species.json --model bioclip-2 --output tol_labels
    """
    from bioclip_core.labels.building import import_label_set
    from bioclip_core.open_clip_encoder import open_encoder

    console = console_for()
    encoder, findings = open_encoder(find_model(model, plugins_of(ctx).models()), choose_compute()), Findings()
    with ProgressLine("Importing", unit="labels", console=console, resumed=True) as line:
        imported = import_label_set(embeddings, names, encoder, output, progress=line.reach, findings=findings)
    console.print(f"{len(imported)} labels{_masked(imported)}; {line.seconds:.1f} s")
    print_lines(console, *map(printable, findings.lines()))
    _print_next(console, imported, output, model)


def _summarise(console: Console, built: Built, line: ProgressLine) -> None:
    distinct = len(built.labels)
    resumed = f"; an earlier call had made {built.resumed_at}" if built.resumed_at else ""
    print_lines(
        console,
        f"{distinct + built.merged + built.empty} rows read: {distinct} distinct taxa, {built.merged} merged, "
        f"{built.empty} without a name",
        *map(printable, built.joined.lines("correct the tables so that they agree")),
        "The label set was finished already; nothing was left to do."
        if built.resumed_at == distinct
        else f"{distinct} labels in {line.seconds:.1f} s{resumed}{_masked(built.labels)}",
    )


def _masked(labels: LabelSet) -> str:
    reasons = {reason: count for reason, count in labels.manifest.get("masked_by", {}).items() if count}
    if not reasons:
        return "; no vector is masked"
    return f"; masked vectors, which are never an answer: {', '.join(f'{n} {reason}' for reason, n in reasons.items())}"


def _print_next(console: Console, made: LabelSet, output: Path, model: str) -> None:
    print_lines(
        console,
        f"Label set: {output} ({made.manifest['id'][:12]})",
        *next_lines(
            command("classify", "PATHS", model=model, labels=output), either=[command("labels doctor", output)]
        ),
    )
