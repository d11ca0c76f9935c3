"""``bioclip-plugin second-opinion``: the catalogued name of each specimen beside the run's answer."""

from __future__ import annotations

import csv
import json
from collections import Counter
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import force_option, json_option, run_option, store_option
from bioclip_plugin.commands.reporting import Report, console_for, passing, print_json_line, print_table, printable
from bioclip_plugin.commands.reviewing.review import labels_option, taxonomy_option

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.reviews.second_opinion import Opinion, Spool

_SHOWN = 20
_PROBABILITIES = ("answer_probability", "best_probability", "catalogued_probability", "surprise")


@click.command("second-opinion")
@store_option
@run_option
@taxonomy_option
@labels_option
@click.option("--name-column", help="The column with the catalogued name.  [default: Darwin Core's]")
@click.option("--output", type=click.Path(path_type=Path), help="Write every image or box to this CSV.")
@force_option
@json_option
@click.pass_context
def second_opinion(
    ctx: click.Context, /, store: str, run: int | None, taxonomy: Path | None, labels: str | None, name_column: str | None,
    output: Path | None, force: bool, as_json: bool,
) -> int:  # fmt: skip
    """Compare the catalogued name of each specimen with a run's answer, through synonymy, the most surprising first.

    The catalogued name is what the table or the Darwin Core archive said: scientificName, or genus and specificEpithet with the
    ranks above. With --taxonomy both names are resolved to accepted ones. Surprise is the natural logarithm of how many times
    more probable the model's best candidate is than the catalogued taxon. Nothing in the store is changed.

    \b
    bioclip-plugin second-opinion --store museum.db --taxonomy gbif.taxonomy --output opinion.csv
    bioclip-plugin second-opinion --store museum.db --name-column "Det. name"
    """
    from bioclip_core.files.whole import check_output, whole_file
    from bioclip_plugin.reviews.names import labels_of_run
    from bioclip_plugin.reviews.second_opinion import SecondOpinion, Spool
    from bioclip_plugin.store import Store
    from bioclip_training.taxonomy import TaxonomyIndex

    if output is not None:
        check_output(output, force=force)
    console = console_for(to_stderr=as_json)
    with ExitStack() as stack:
        opened = stack.enter_context(Store.open(store, create=False))
        chosen = opened.run(run)
        found, note = labels_of_run(chosen, plugins_of(ctx).models(), labels)
        if note:
            console.print(f"Label set: {note}; whether a name is in it is left open")
        index = stack.enter_context(TaxonomyIndex.open(taxonomy)) if taxonomy is not None else None
        spool = stack.enter_context(Spool())
        counts: Counter[str] = Counter()
        judge = SecondOpinion(found, index, name_column)
        with Report("Comparing") as report:
            for opinion in passing(judge.opinions(opened, chosen), report):
                counts[opinion.judgement] += 1
                spool.add(opinion.row, _order(opinion))
        if output is not None:
            with whole_file(output, force=force) as draft:
                _write(spool, draft)
        if as_json:
            for row in spool.rows():
                print_json_line(json.dumps(row, ensure_ascii=False))
        _say(console, chosen.id, counts, spool, as_json=as_json)
    if output is not None:
        console.print(f"Output: {output}")
    return EXIT_DONE


def _order(opinion: Opinion) -> float:
    """Surprising ones first; what has no surprise last, and names that the model does not know before those that agree."""
    if opinion.surprise is None:
        return -1e6 if opinion.judgement == "not in the label set" else -1e9
    return opinion.surprise


def _write(spool: Spool, path: Path) -> None:
    from bioclip_plugin.formats.tables.write import spreadsheet_safe
    from bioclip_plugin.reviews.second_opinion import COLUMNS

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in spool.rows():
            table.writerow([_cell(name, row[name], spreadsheet_safe) for name in COLUMNS])


def _cell(name: str, value: Any, safe: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    return f"{value:.6g}" if name in _PROBABILITIES and value is not None else value


def _say(console: Console, run: int, counts: Counter[str], spool: Spool, *, as_json: bool) -> None:
    from bioclip_plugin.reviews.second_opinion import JUDGEMENTS

    console.print(f"Run {run}: {len(spool)} answered images or boxes")
    rows = [(judgement, counts[judgement], said) for judgement, said in JUDGEMENTS.items() if counts[judgement]]
    print_table(console, ("judgement", "n", "the run's answer"), rows)
    if as_json:
        return
    conflicts = [row for row in islice(spool.rows(), _SHOWN) if row["judgement"] in ("conflict", "agree at genus")]
    if conflicts:
        shown = [
            (row["catalog_number"] or row["occurrence_id"] or row["uri"], row["catalogued_name"], row["answer"],
             f"{row['answer_probability']:.2f}", row["judgement"], f"{row['surprise']:.1f}" if row["surprise"] is not None else "")
            for row in conflicts
        ]  # fmt: skip
        columns = ("specimen", "catalogued as", "answer", "probability", "judgement", "surprise")
        print_table(console, columns, [tuple(printable(str(cell)) for cell in row) for row in shown])
