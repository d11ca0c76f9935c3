"""``bioclip-plugin review``: reviews imported, listed and compared with a run."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.naming.options import NameOptions
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import (
    COUNT,
    filled,
    force_option,
    json_option,
    options_from,
    run_option,
    store_option,
)
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table, printable
from bioclip_plugin.commands.reviewing.review_stats import stats
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.formats.shared.review_rows import ImportOptions, NotTaken
from bioclip_plugin.store import open_store
from bioclip_training.catalog.naming.name_decisions import NameDecisions
from bioclip_training.taxonomy import TaxonomyIndex

if TYPE_CHECKING:
    from bioclip_plugin.reviews.importing import Imported
    from bioclip_plugin.store import Review

_SHOWN = 20
_REFUSED_COLUMNS = ("record", "image", "name", "reason")

taxonomy_option = click.option(
    "--taxonomy", type=click.Path(path_type=Path), help="Taxonomy file to resolve names, made by `taxonomy build`."
)
labels_option = click.option(
    "--labels", help="Folder of the run's label set.", show_default="where the run found it"
)  # fmt: skip


@click.group()
def review() -> None:
    """Import people's reviews of images, list them, and compare a run with them.

    \b
    bioclip-plugin review import checked.csv --store results.db --reviewer "Ann Example"
    bioclip-plugin review stats --store results.db
    """


@review.command("import")
@click.argument("file", metavar="FILE")
@store_option
@run_option
@options_from(ImportOptions)
@options_from(NameOptions, only=["name_map"])
@labels_option
@taxonomy_option
@click.option("--rejected", type=click.Path(path_type=Path), help="CSV file to write, with every refused row.")
@force_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context, /, file: str, store: str, run: int | None, labels: str | None, taxonomy: Path | None,
    rejected: Path | None, force: bool, as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Import reviews: a table, an export of ours that a reviewer filled in, a Timelapse table, a Camtrap DP package.

    Every row is imported, already there, without a review, or refused with its reason; the exit code is 3 if rows were
    refused. A file that is imported twice is stored once. Names are looked up in the run's label set, in the store and in
    --taxonomy, never guessed.

    \b
    bioclip-plugin review import checked.csv --reviewer "Ann Example"
    bioclip-plugin review import ImageData.csv --base-folder photos --name-column Tenon_Soort --reviewer Bo
    bioclip-plugin review import package/datapackage.json --rejected rejected.csv
    """
    from bioclip_plugin.reviews.importing import import_reviews
    from bioclip_plugin.reviews.names import NameBook, StoredNames, labels_of_run

    names = NameDecisions(filled(NameOptions, given))
    options, plugins, console = filled(ImportOptions, given), plugins_of(ctx), console_for(to_stderr=as_json)
    shown: list[NotTaken] = []
    with (
        csv_output(rejected, _REFUSED_COLUMNS, force=force, reads=[file]) as write,
        open_store(store, writes=True) as opened,
        TaxonomyIndex.open(taxonomy) if taxonomy else nullcontext() as index,
    ):

        def refused(row: NotTaken) -> None:
            write((row.record, row.image, row.name, row.reason))
            if len(shown) < _SHOWN:
                shown.append(row)

        of_run = opened.run(run) if run is not None or opened.runs() else None
        label_set, note = labels_of_run(of_run, plugins.models(), labels, store=opened.shown_address)
        if note:
            console.print(f"Names: {note}")
        book = NameBook(StoredNames(opened), label_set, index, names)
        kept = "The reviews so far are stored; the same command continues, and stores none twice."
        with interruptible(console, kept), ProgressLine("Importing", unit="rows") as line:
            done = import_reviews(file, opened, plugins.sources(), book, options, refused, line.advance)
    names.report(options.findings)
    if as_json:
        print_json(
            {"kind": done.kind, "rows": done.rows, "imported": done.new, "already_there": done.there,
             "without_review": done.unsaid, "refused": done.refusals, "refused_by_reason": dict(done.refused)}
        )  # fmt: skip
        print_lines(console, *map(printable, options.findings.lines()))
    else:
        print_lines(console, *_summary(done, shown, rejected), *map(printable, options.findings.lines()))
    return EXIT_WITH_FAILURES if done.refusals else EXIT_DONE


def _summary(done: Imported, shown: list[NotTaken], rejected: Path | None) -> list[str]:
    places = [", ".join(filter(None, (row.record, row.image, row.name))) for row in shown]
    more, hint = done.refusals - len(shown), "; --rejected FILE writes them all" if rejected is None else ""
    return [
        *(printable(f"{place}: {row.reason}") for place, row in zip(places, shown, strict=True)),
        f"and {more} more{hint}" if more else "",
        f"{number_of(done.rows, 'row')} ({done.kind}): {done.new} imported, {done.there} already there, {done.unsaid} without a review, "
        f"{done.refusals} refused",
        *(f"  {count} x {reason}" for reason, count in done.refused.most_common()),
        f"Rejected rows: {rejected}" if rejected is not None else "",
    ]


@review.command("list")
@store_option
@click.option("--reviewer", help="Only reviews by this person.")
@click.option("--limit", type=COUNT, help="Only the newest reviews, at most this many.")
@json_option
def list_(store: str, reviewer: str | None, limit: int | None, as_json: bool) -> None:
    """List the reviews, in the order in which they were stored.

    \b
    bioclip-plugin review list --store results.db --limit 20
    bioclip-plugin review list --json > reviews.jsonl
    """
    with open_store(store) as opened:
        wanted = (entry for entry in opened.reviews() if reviewer is None or entry.reviewer == reviewer)
        found = wanted if limit is None else deque(wanted, limit)
        if as_json:
            for entry in found:
                print_json(_review_as_json(entry))
            return
        rows, shown = [_review_row(entry) for entry in found], opened.shown_address
    console = console_for()
    if not rows:
        console.print(f"No reviews found. Import some with: {command('review import', 'FILE', store=shown)}")
    print_table(console, ("review", "image or event", "box", "says", "reviewer", "at", "comment"), rows)


def _review_as_json(entry: Review) -> dict[str, Any]:
    target, taxon = entry.target, entry.taxon
    return {
        "review": entry.id, "kind": target.kind, "uri": target.uri, "frame": target.frame,
        "region": target.region.xywh if target.region else None, "event": target.event, "verdict": entry.verdict,
        "taxon": {"scientific_name": taxon.scientific_name, **taxon.as_dict()} if taxon else None,
        "reviewer": entry.reviewer, "reviewed_at": entry.reviewed_at.isoformat(), "comment": entry.comment,
        "details": dict(entry.details),
    }  # fmt: skip


def _review_row(entry: Review) -> tuple[str, ...]:
    target, taxon = entry.target, entry.taxon
    place = f"event {target.event}" if target.kind == "event" else target.uri or ""
    place += f" frame {target.frame}" if target.frame else ""
    box = " ".join(f"{side:.3f}" for side in target.region.xywh) if target.region else ""
    name = taxon.scientific_name or taxon.common_name if taxon else entry.verdict.replace("_", " ")
    moment = entry.reviewed_at.strftime("%Y-%m-%d %H:%M:%SZ")
    return tuple(map(printable, (str(entry.id), place, box, name, entry.reviewer, moment, entry.comment)))


review.add_command(stats)
