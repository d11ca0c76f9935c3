"""``bioclip-plugin second-opinion``: the catalogued name of each specimen beside the run's answer."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.options import force_option, json_option, options_from, run_option, store_option
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table, printable
from bioclip_plugin.commands.reviewing.review import labels_option, taxonomy_option
from bioclip_plugin.store import open_store
from bioclip_training.taxonomy import TaxonomyIndex

if TYPE_CHECKING:
    from bioclip_plugin.reviews.second_opinion import Opinion

_SHOWN = 20
_DIFFER = ("conflict", "agree at genus")
_SPECIMEN = ("specimen", "catalogued as", "answer", "probability", "judgement", "surprise")
_PROBABILITIES = ("answer_probability", "best_probability", "catalogued_probability", "surprise")


@click.command("second-opinion")
@store_option
@run_option
@taxonomy_option
@labels_option
@options_from(TableOptions, only=["column"])
@click.option(
    "--name-column",
    help="Column of the catalogued name; the same as --column scientific_name=COLUMN.",
    show_default="Darwin Core's",
)
@click.option("--output", type=click.Path(path_type=Path), help="CSV file to write, with every image or box.")
@force_option
@json_option
@click.pass_context
def second_opinion(
    ctx: click.Context, /, store: str, run: int | None, taxonomy: Path | None, labels: str | None, name_column: str | None,
    column: tuple[str, ...], output: Path | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare the catalogued name of each specimen with a run's answer, through synonymy, the most surprising first.

    The catalogued name is that of the table or the Darwin Core archive: scientificName, or genus and specificEpithet with the
    ranks above. With --taxonomy both names are resolved to accepted ones. Surprise is the natural logarithm of how many times
    more probable the model's best candidate is than the catalogued taxon. Nothing in the store is changed.

    \b
    bioclip-plugin second-opinion --store museum.db --taxonomy gbif.taxonomy --output opinion.csv
    bioclip-plugin second-opinion --store museum.db --name-column "Det. name"
    """
    from bioclip_plugin.reviews.names import labels_of_run
    from bioclip_plugin.reviews.second_opinion import COLUMNS, JUDGEMENTS, SecondOpinion, Spool

    console, counts, findings = console_for(to_stderr=as_json), Counter[str](), Findings()
    with (
        csv_output(output, COLUMNS, console, force=force) as write,
        open_store(store) as opened,
        TaxonomyIndex.open(taxonomy) if taxonomy else nullcontext() as index,
        Spool() as spool,
    ):
        chosen = opened.run(run)
        label_set, note = labels_of_run(chosen, plugins_of(ctx).models(), labels, store=opened.shown_address)
        if note:
            console.print(f"Label set: {note}; whether it has a name is left open")
        judge = SecondOpinion(label_set, index, name_column, TableOptions(column=column).headings)
        with ProgressLine("Comparing") as line:
            for opinion in judge.opinions(opened, chosen):
                line.advance()
                counts[opinion.judgement] += 1
                spool.add(opinion.row, _order(opinion))
                _note(findings, opinion.row)
        if output is not None:
            for row in spool.rows():
                rounded = {name: f"{row[name]:.6g}" for name in _PROBABILITIES if isinstance(row[name], (int, float))}
                write((row | rounded).values())
        if as_json:
            for row in spool.rows():
                print_json(row)
        console.print(f"Run {chosen.id}: {number_of(len(spool), 'answered image or box', 'answered images or boxes')}")
        judged = [(judgement, counts[judgement], text) for judgement, text in JUDGEMENTS.items() if counts[judgement]]
        print_table(console, ("judgement", "n", "the run's answer"), judged)
        print_lines(console, *map(printable, findings.lines()))
        conflicts = (
            [] if as_json else [_specimen(row) for row in islice(spool.rows(), _SHOWN) if row["judgement"] in _DIFFER]
        )
        if conflicts:
            print_table(console, _SPECIMEN, conflicts)


def _note(findings: Findings, row: dict[str, Any]) -> None:
    """Count the specimens whose catalogued name is in doubt or cannot be read."""
    specimen = f"{row['catalog_number'] or row['occurrence_id'] or row['uri']}: {row['catalogued_name']!r}"
    if row["judgement"] == "name not read":
        findings.add("catalogued names cannot be read and are not compared", f"{specimen} ({row['reason']})")
    elif row["catalogued_doubt"]:
        findings.add("catalogued names are in doubt and compared by what is certain or suggested", specimen)


def _order(opinion: Opinion) -> float:
    """Return the key that sorts surprising opinions first, then names that the model does not know, then the others."""
    if opinion.surprise is None:
        return -1e6 if opinion.judgement == "not in the label set" else -1e9
    return opinion.surprise


def _specimen(row: dict[str, Any]) -> list[str]:
    cells = (
        row["catalog_number"] or row["occurrence_id"] or row["uri"], row["catalogued_name"], row["answer"],
        f"{row['answer_probability']:.2f}", row["judgement"], f"{row['surprise']:.1f}" if row["surprise"] is not None else "",
    )  # fmt: skip
    return [printable(str(cell)) for cell in cells]
