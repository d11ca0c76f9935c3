"""``bioclip-plugin search``: the images of a store that are most similar to an image, a name or words."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.files.whole import check_output
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.options import (
    COUNT,
    GivenPath,
    device_option,
    force_option,
    json_option,
    run_option,
    store_option,
)
from bioclip_plugin.commands.outputs import csv_output
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import (
    console_for,
    json_alone,
    log_lines,
    print_json,
    print_lines,
    print_table,
    printable,
)
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.searching.results import Hit, SearchResult

_KINDS = ("image", "item", "name", "words")
_MOST = 10_000
COLUMNS = (
    "cosine",
    "uri",
    "frame",
    "region_x",
    "region_y",
    "region_w",
    "region_h",
    "taxon",
    "rank",
    "probability",
    "copies",
    "key",
)


@click.command()
@click.argument("text", metavar="IMAGE|NAME|WORDS")
@click.option("--as", "kind", type=click.Choice(_KINDS), help="What the text is.  [default: what it can only be]")
@click.option("--top", type=click.IntRange(1, _MOST), default=20, show_default=True, help="Largest number of results.")
@run_option
@click.option("--region", type=COUNT, help="Number of the region, from 1, of a stored image with several.")
@click.option(
    "--name-from",
    type=click.Choice(("labels", "reviews")),
    default="labels",
    show_default=True,
    help="What stands for a name: its rows in the label set, or the mean of the run's images that people reviewed as it.",
)
@click.option("--rebuild", is_flag=True, help="Make what searches derive from the stored features anew.")
@click.option("--output", type=GivenPath(), help="CSV file to write.")
@force_option
@click.option("--model", help="Model of the query.  [default: that of the run]")
@click.option("--labels", help="Folder of a label set whose names are searched for.  [default: that of the run]")
@device_option
@store_option
@json_option
@click.pass_context
def search(
    ctx: click.Context, /, text: str, output: Path | None, store: str, force: bool, as_json: bool, **options: Any
) -> None:
    """Search a run for the images that are most similar to an image, a name or words, by their stored features.

    The text is the path of an image; an image of the run, by its name or by the key that results show, whose stored feature is
    used without any model; a name in the label set, of any rank; or words, for a model with a text tower. A text that could be
    two of these is refused, and so are one or two words that are nothing else: --as then says which is meant.

    Every feature is compared. Images with equal contents are one result, with the number of its copies. The model and
    labels are those of the run, unless others are given; a model with other weights is refused.

    \b
    bioclip-plugin search photos/0001.jpg --store results.db
    bioclip-plugin search Felidae --top 50 --output cats.csv
    bioclip-plugin search Felidae --name-from reviews
    bioclip-plugin search "a bird on the ground at night"
    """
    console = console_for(to_stderr=as_json)
    if output is not None:
        check_output(output, force=force, reads=[store])
    with log_lines(console), interruptible(console, "Nothing was written; the same command starts again."):
        with json_alone() if as_json else nullcontext():
            result = _searched(plugins_of(ctx), text, store, **options)
            if as_json:
                print_json(result.as_dict())
        with csv_output(output, COLUMNS, console, force=force, reads=[store]) as write:
            for hit in result.hits:
                write(_row(hit))
    if not as_json:
        _print(console, result, is_written=output is not None)


def _searched(
    plugins: BioclipPluginManager, text: str, address: str, *, kind: Any, top: int, run: int | None, region: int | None,
    name_from: Any, rebuild: bool, model: str | None, labels: str | None, device: str,
) -> SearchResult:  # fmt: skip
    from bioclip_plugin.searching.asking import Asking
    from bioclip_plugin.searching.engine_of_run import engine_of_run
    from bioclip_plugin.searching.searcher import Searcher

    with open_store(address) as store:
        chosen = store.run(run)
        engine = cache(
            lambda: engine_of_run(chosen, store.shown_address, plugins, model=model, labels=labels, device=device)
        )
        with ProgressLine("Building the search matrix", unit="features") as line:
            searcher = Searcher(store, chosen, rebuild=rebuild, progress=line.reach)
        return searcher.search(Asking(store, searcher, engine).query(text, kind, region, name_from), top)


def _row(hit: Hit) -> tuple[Any, ...]:
    found = hit.as_dict()
    box = found["region"] or [""] * 4
    taxon = (found[name] if found[name] is not None else "" for name in ("taxon", "rank", "probability"))
    return found["cosine"], found["uri"], found["frame"], *box, *taxon, found["copies"], found["key"]


def _print(console: Console, result: SearchResult, *, is_written: bool) -> None:
    features = number_of(result.compared, "feature")
    how = "all compared" if result.is_exact else "by an index, which may miss some"
    print_lines(
        console,
        printable(f"Search by {result.query}"),
        f"Run {result.run}: {features} of distinct images and regions, {how} ({result.method})",
        *map(printable, result.notes),
    )
    if not is_written:
        rows = [
            (f"{hit.cosine:.4f}", printable(hit.item.uri), _named(hit), hit.copies or "", hit.as_dict()["key"])
            for hit in result.hits
        ]
        print_table(console, ("cosine", "image", "answer", "copies", "key"), rows)
    if not result.hits:
        console.print("Nothing to search: no stored feature of this run passes the filters.")


def _named(hit: Hit) -> str:
    return "" if hit.answer is None else f"{hit.answer.name} ({hit.answer.probability:.2f})"
