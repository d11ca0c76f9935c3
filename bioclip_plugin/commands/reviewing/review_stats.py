"""``bioclip-plugin review stats``: agreement of a run with the reviews."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.options import force_option, json_option, run_option, store_option
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.reviews.agreement import Agreement

_SHOWN_TAXA, _SHOWN_CONFUSIONS = 30, 15
_MEASURES = {
    "agree": "decided to be the taxon or below it",
    "agree_or_higher": "that, or a taxon above it",
    "genus": "decided within its genus",
    "family": "decided within its family",
    "top1": "best candidate is it",
    "top5": "among the five best candidates",
    "macro": "agreement, mean over taxa",
}


@click.command("stats")
@store_option
@run_option
@click.option(
    "--events", is_flag=True, help="Count an event's review for each of its images without a review of its own."
)
@click.option("--output", type=click.Path(path_type=Path), help="CSV file to write, with the figures of every taxon.")
@force_option
@json_option
def stats(store: str, run: int | None, events: bool, output: Path | None, force: bool, as_json: bool) -> None:
    """Compare a run's decisions with the newest review of each image or box.

    Shown are, per taxon, how often it was reviewed, decided and found among the candidates, with precision and recall; totals
    with 95% intervals (over events); blanks, people and vehicles; and the most frequent confusions.

    \b
    bioclip-plugin review stats --store results.db
    bioclip-plugin review stats --run 2 --output agreement.csv
    """
    from bioclip_plugin.reviews.agreement import COLUMNS, agreement_of, verdict_rows
    from bioclip_plugin.reviews.pairing import LeftOut, pairs_of

    console = console_for(to_stderr=as_json)
    with csv_output(output, COLUMNS, console, force=force) as write, open_store(store) as opened:
        chosen, skipped = opened.run(run), LeftOut()
        found = agreement_of(pairs_of(opened, chosen, skipped, events=events))
        found.left_out = dict(skipped.counts)
        for row in (*(figures.as_dict() for figures in found.taxa), *verdict_rows(found)):
            write(row.get(column, "") for column in COLUMNS)
        if as_json:
            print_json({"run": chosen.id, **found.as_dict()})
        else:
            _print(console, found, chosen.id, verdict_rows(found))
            if not found.reviewed:
                importing = command("review import", "FILE", store=opened.shown_address)
                console.print(f"There is nothing to compare; import reviews with: {importing}")


def _print(console: Console, found: Agreement, run: int, of_verdicts: list[dict[str, Any]]) -> None:
    with_taxon = sum(figures.n for figures in found.taxa)
    print_lines(
        console,
        f"Run {run}: {number_of(found.reviewed, 'reviewed image or box', 'reviewed images or boxes')}, {with_taxon} with a taxon",
        *(f"  not counted: {count} {reason}" for reason, count in found.left_out.items()),
    )
    if not found.reviewed:
        return
    totals = [
        (text, _percent(total.share), _interval(total.ci95), total.n, total.groups)
        for name, text in _MEASURES.items()
        if (total := found.totals.get(name)) and total.n
    ]
    print_table(console, ("of the reviewed taxa", "share", "95% interval", "n", "events"), totals)
    taxa = [
        (row["name"], row["n"], row["agree"], row.get("higher", ""), row.get("top5", ""), row["answered"],
         _percent(row["precision"]), _percent(row["recall"]))
        for row in (*(figures.as_dict() for figures in found.taxa[:_SHOWN_TAXA]), *of_verdicts)
    ]  # fmt: skip
    print_table(console, ("taxon", "reviewed", "agree", "above it", "top 5", "decided", "precision", "recall"), taxa)
    if len(found.taxa) > _SHOWN_TAXA:
        console.print(f"and {len(found.taxa) - _SHOWN_TAXA} more taxa; --output FILE writes them all")
    answers = sorted({answer for counts in found.verdicts.values() for answer in counts})
    rows = [(verdict, *(counts.get(answer, 0) for answer in answers)) for verdict, counts in found.verdicts.items()]
    print_table(console, ("reviewed as", *(f"decided: {answer}" for answer in answers)), rows)
    if found.confusions:
        print_table(console, ("reviewed as", "decided as", "n"), found.confusions[:_SHOWN_CONFUSIONS])


def _interval(ends: tuple[float, float]) -> str:
    return "1 event: none" if ends[0] != ends[0] else f"{_percent(ends[0])} to {_percent(ends[1])}"


def _percent(share: Any) -> str:
    return "" if share is None or share != share else f"{100 * share:.1f}%"
