"""``bioclip-plugin labels``: making label sets; looking at them is in ``label_views``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioclip_core.captions import Caption
from bioclip_plugin.cli import EXIT_DONE, EXIT_INTERRUPTED, plugins_of
from bioclip_plugin.commands.label_views import doctor, search, show
from bioclip_plugin.commands.options import model_option, options_from
from bioclip_plugin.commands.reporting import Report, console_for, log_lines
from bioclip_plugin.items.request import ClassifyRequest

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_core.labels.building import Built
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_core.taxonomy import Taxon

_output = click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The label set's folder, new or unfinished."
)


@click.group()
def labels() -> None:
    """Build, import, search and check label sets: the names that a model can answer with.

    \b
    bioclip-plugin labels build species.csv --model demo --output my_labels
    bioclip-plugin labels search lynx --labels my_labels
    """


labels.add_command(show)
labels.add_command(search)
labels.add_command(doctor)


@labels.command("build")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...", type=click.Path(path_type=Path))
@model_option
@_output
@click.option(
    "--caption",
    type=click.Choice([kind.value for kind in Caption]),
    default=Caption.TAXONOMIC.value,
    show_default=True,
    help="What the text tower reads; templates is the mean of 81 prompts and takes 81 times as long.",
)
@options_from(ClassifyRequest, only=["device", "precision"], precision="fp32")
@click.pass_context
def build(
    ctx: click.Context, tables: tuple[Path, ...], model: str, output: Path, caption: str, device: str, precision: str
) -> int:
    """Build a label set from tables of taxa (.csv, .tsv, .parquet) with the model's text tower.

    Columns are found by their names, without case: kingdom, phylum, class, order, family, genus, species or
    specificEpithet, scientificName; vernacularName or common_name; taxonID. Several tables are joined, and rows of one
    lineage are one label. After an interruption the same command goes on where it was.

    \b
    bioclip-plugin labels build leaves.csv fish.csv --model bioclip-2 --output my_labels
    """
    from bioclip_core.device import choose_compute
    from bioclip_core.errors import LabelSetError
    from bioclip_core.labels.building import build_label_set
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder
    from bioclip_plugin.commands.training.taxon_tables import read_taxa

    console = console_for()
    rows = _Counted([read_taxa(table) for table in tables])
    compute = choose_compute(device, precision)
    encoder = open_encoder(find_model(model, plugins_of(ctx).models()), compute)
    console.print(f"Model {model} on {compute.described()}")
    report = Report("Building", unit="labels", console=console)
    try:
        with log_lines(console), report:
            built = build_label_set(
                rows, encoder, output, caption=Caption(caption), progress=lambda *done: _progress(report, *done)
            )
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where it was.")
        return EXIT_INTERRUPTED
    except OSError as error:
        raise LabelSetError(
            f"label set {output} cannot be written: {error.strerror or error}; the same command goes on where it was"
        ) from error
    _summarise(console, built, rows.count, report)
    _say_next(console, built.labels, output)
    return EXIT_DONE


@labels.command("import")
@click.argument("embeddings", type=click.Path(path_type=Path), metavar="EMBEDDINGS.npy")
@click.argument("names", type=click.Path(path_type=Path), metavar="NAMES.json")
@model_option
@_output
@click.pass_context
def import_labels(ctx: click.Context, embeddings: Path, names: Path, model: str, output: Path) -> int:
    """Import label files as TreeOfLife publishes them: D x N numbers, and [[seven ranks], common name] for each column.

    \b
    bioclip-plugin labels import txt_emb_species.npy txt_emb_species.json --model bioclip-2 --output tol_labels
    """
    from bioclip_core.device import choose_compute
    from bioclip_core.labels.published import import_label_set
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder

    console = console_for()
    encoder = open_encoder(find_model(model, plugins_of(ctx).models()), choose_compute())
    report = Report("Importing", unit="labels", console=console)
    with report:
        imported = import_label_set(embeddings, names, encoder, output, progress=lambda *done: _progress(report, *done))
    console.print(f"{len(imported)} labels{_masked(imported)}; {report.seconds:.1f} s")
    _say_next(console, imported, output)
    return EXIT_DONE


class _Counted:
    """The taxa of several tables, counted as they are taken."""

    def __init__(self, tables: list[Iterator[Taxon]]) -> None:
        self._tables = tables
        self.count = 0

    def __iter__(self) -> Iterator[Taxon]:
        for table in self._tables:
            for taxon in table:
                self.count += 1
                yield taxon


def _progress(report: Report, done: int, total: int) -> None:
    if report.total is None:
        report.total = total
        report.already = report.count = done  # what an earlier call did, and the first batch, which opens the model
    report.advance(done - report.count)


def _summarise(console: Console, built: Built, rows: int, report: Report) -> None:
    console.print(
        f"{rows} rows read: {len(built.labels)} distinct taxa, {built.merged} merged, {built.empty} without a name"
    )
    if built.resumed_at == len(built.labels):
        console.print("The label set was finished already; nothing was to do.")
    else:
        resumed = f"; {built.resumed_at} were done by an earlier call" if built.resumed_at else ""
        console.print(f"{len(built.labels)} labels in {report.seconds:.1f} s{resumed}{_masked(built.labels)}")


def _masked(found: LabelSet) -> str:
    """What cannot be answered, in words."""
    reasons = {reason: count for reason, count in found.manifest.get("masked_by", {}).items() if count}
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"; masked vectors, which are never an answer: {said}" if said else "; no vector is masked"


def _say_next(console: Console, made: LabelSet, output: Path) -> None:
    console.print(f"Label set: {output} ({made.manifest['id'][:12]})")
    console.print(f"Next: bioclip-plugin classify PATHS --labels {output}, or bioclip-plugin labels doctor {output}")
