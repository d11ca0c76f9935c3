"""``bioclip-plugin review``: what people said, imported, listed and compared with a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled, force_option, json_option, options_from, run_option, store_option
from bioclip_plugin.commands.reporting import Report, console_for, print_json_line, print_table, printable
from bioclip_plugin.commands.reviewing.review_stats import stats
from bioclip_plugin.formats.shared.review_rows import ImportOptions

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.formats.shared.review_rows import NotTaken
    from bioclip_plugin.reviews.importing import Imported
    from bioclip_plugin.store import Review

_SHOWN = 20
_REFUSED_COLUMNS = ("record", "image", "name", "reason")

taxonomy_option = click.option(
    "--taxonomy", type=click.Path(path_type=Path), help="Resolve names through this file, made by `taxonomy build`."
)
labels_option = click.option("--labels", help="The folder of the run's label set.  [default: where the run found it]")


@click.group()
def review() -> None:
    """Import what people said of images, list it, and measure a run by it.

    \b
    bioclip-plugin review import checked.csv --store results.db --reviewer "Ann Example"
    bioclip-plugin review stats --store results.db
    """


@review.command("import")
@click.argument("file", metavar="FILE")
@store_option
@run_option
@options_from(ImportOptions)
@labels_option
@taxonomy_option
@click.option(
    "--rejected", type=click.Path(path_type=Path), help="Write every row that could not be taken to this CSV."
)
@force_option
@json_option
@click.pass_context
def import_(ctx: click.Context, /, file: str, store: str, run: int | None, as_json: bool, **given: Any) -> int:
    """Import reviews: a table, an export of ours that somebody filled in, a Timelapse table, a Camtrap DP package.

    Every row is imported, was there already, holds no review, or is refused with its reason; then the exit code is 3. Importing
    a file twice stores once. Names are looked up in the run's label set, in the store and in --taxonomy, never guessed.

    \b
    bioclip-plugin review import checked.csv --reviewer "Ann Example"
    bioclip-plugin review import ImageData.csv --base-folder photos --name-column Tenon_Soort --reviewer Bo
    bioclip-plugin review import package/datapackage.json --rejected rejected.csv
    """
    from bioclip_core.files.whole import check_output
    from bioclip_plugin.reviews.importing import import_reviews
    from bioclip_plugin.reviews.names import NameBook, StoredNames, labels_of_run
    from bioclip_plugin.store import Store

    rejected: Path | None = given["rejected"]
    if rejected is not None:
        check_output(rejected, force=given["force"], reads=[file])
    options = filled(ImportOptions, given)
    plugins, console = plugins_of(ctx), console_for(to_stderr=as_json)
    shown: list[NotTaken] = []
    with ExitStack() as stack:
        opened = stack.enter_context(Store.open(store, create=False))
        of_run = opened.run(run) if run is not None or opened.runs() else None
        labels, note = labels_of_run(of_run, plugins.models(), given["labels"])
        if note:
            console.print(f"Names: {note}")
        book = NameBook(StoredNames(opened), labels, _taxonomy(stack, given["taxonomy"]))
        write = _rejecting(stack, rejected, force=given["force"])

        def refused(row: NotTaken) -> None:
            write(row)
            if len(shown) < _SHOWN:
                shown.append(row)

        with Report("Importing", unit="rows") as report:
            done = import_reviews(file, opened, plugins.sources(), book, options, refused, report.advance)
    if as_json:
        print_json_line(json.dumps(_as_json(done), ensure_ascii=False))
    else:
        _say(console, done, shown, rejected)
    return EXIT_WITH_FAILURES if done.refusals else EXIT_DONE


def _rejecting(stack: ExitStack, path: Path | None, *, force: bool) -> Callable[[NotTaken], None]:
    """What writes refused rows to a file, where one is wanted; it gets its name when the stack is left."""
    from bioclip_core.files.whole import whole_file
    from bioclip_plugin.formats.tables.write import spreadsheet_safe

    if path is None:
        return lambda _row: None
    draft = stack.enter_context(whole_file(path, force=force))
    table = csv.writer(stack.enter_context(draft.open("w", encoding="utf-8", newline="")))
    table.writerow(_REFUSED_COLUMNS)

    def write(row: NotTaken) -> None:
        table.writerow([spreadsheet_safe(cell) for cell in (row.record, row.image, row.name, row.reason)])

    return write


def _taxonomy(stack: ExitStack, path: Path | None) -> Any:
    from bioclip_training.taxonomy import TaxonomyIndex

    return stack.enter_context(TaxonomyIndex.open(path)) if path is not None else None


def _as_json(done: Imported) -> dict[str, Any]:
    return {
        "kind": done.kind, "rows": done.rows, "imported": done.new, "already_there": done.there, "without_review": done.unsaid,
        "refused": done.refusals, "refused_by_reason": dict(done.refused),
    }  # fmt: skip


def _say(console: Console, done: Imported, shown: list[NotTaken], rejected: Path | None) -> None:
    for row in shown:
        about = ", ".join(filter(None, (row.record, row.image, row.name)))
        console.print(printable(f"{about}: {row.reason}"))
    if done.refusals > len(shown):
        more = f"and {done.refusals - len(shown)} more"
        console.print(more if rejected is not None else f"{more}; --rejected FILE writes them all")
    console.print(
        f"{done.rows} rows ({done.kind}): {done.new} imported, {done.there} already there, {done.unsaid} without a review, "
        f"{done.refusals} refused"
    )
    for reason, count in done.refused.most_common():
        console.print(f"  {count} x {reason}")
    if rejected is not None:
        console.print(f"Rejected rows: {rejected}")


@review.command("list")
@store_option
@click.option("--reviewer", help="Only reviews by this person.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the newest.")
@json_option
def list_(store: str, reviewer: str | None, limit: int | None, as_json: bool) -> int:
    """List what people said, in the order in which it was stored.

    \b
    bioclip-plugin review list --store results.db --limit 20
    bioclip-plugin review list --json > reviews.jsonl
    """
    from collections import deque

    from bioclip_plugin.store import Store

    with Store.open(store, create=False) as opened:
        wanted = (one for one in opened.reviews() if reviewer is None or one.reviewer == reviewer)
        found = wanted if limit is None else deque(wanted, limit)
        if as_json:
            for one in found:
                print_json_line(json.dumps(_review_as_json(one), ensure_ascii=False))
            return EXIT_DONE
        rows = [_review_row(one) for one in found]
    console = console_for()
    if not rows:
        console.print("Nobody reviewed anything here yet; begin with: bioclip-plugin review import FILE")
    print_table(console, ("review", "image or event", "box", "says", "reviewer", "at", "comment"), rows)
    return EXIT_DONE


def _review_as_json(one: Review) -> dict[str, Any]:
    target = one.target
    return {
        "review": one.id, "kind": target.kind, "uri": target.uri, "frame": target.frame,
        "region": target.region.xywh if target.region else None, "event": target.event, "verdict": one.verdict,
        "taxon": {"scientific_name": one.taxon.scientific_name, **one.taxon.as_dict()} if one.taxon else None,
        "reviewer": one.reviewer, "reviewed_at": one.reviewed_at.isoformat(), "comment": one.comment, "details": dict(one.details),
    }  # fmt: skip


def _review_row(one: Review) -> tuple[str, ...]:
    target = one.target
    place = f"event {target.event}" if target.kind == "event" else target.uri or ""
    place += f" frame {target.frame}" if target.frame else ""
    box = " ".join(f"{side:.3f}" for side in target.region.xywh) if target.region else ""
    name = one.taxon.scientific_name or one.taxon.common_name if one.taxon else one.verdict.replace("_", " ")
    moment = one.reviewed_at.strftime("%Y-%m-%d %H:%M:%SZ")
    return tuple(printable(text) for text in (str(one.id), place, box, name, one.reviewer, moment, one.comment))


review.add_command(stats)
