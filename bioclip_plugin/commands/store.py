"""``bioclip-plugin store``: maintenance of a result store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of, size_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import COUNT, json_option, output_option, store_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table, printable
from bioclip_plugin.store import open_store


@click.group()
def store() -> None:
    """Maintain a result store.

    \b
    bioclip-plugin store info --store results.db
    bioclip-plugin store compact --store results.db
    bioclip-plugin store index --store results.db
    bioclip-plugin store upgrade --store postgresql+psycopg://me@server/results
    bioclip-plugin store backup --store results.db --output backups/results-2026-05-31.db
    """


@store.command("upgrade")
@store_option
def upgrade(store: str) -> None:
    """Upgrade the tables of a store to this version. SQLite files upgrade when they are opened; PostgreSQL only here.

    \b
    bioclip-plugin store upgrade --store postgresql+psycopg://me@server/results
    """
    with open_store(store, upgrade=True) as opened:
        address, before, now = opened.shown_address, opened.upgraded_from, opened.version()
    outcome = f"was upgraded from version {before} to {now}" if before else f"already has version {now}"
    console_for().print(f"The store {address} {outcome}.")


@store.command("backup")
@store_option
@output_option("File to make; it must not exist yet.")
def backup(store: str, output: Path) -> None:
    """Copy an SQLite store to a file, while other programs may write to it.

    The copy is one state of the store, is checked against it, and appears once it is whole. The store is not upgraded. For a
    store in PostgreSQL the command shows the call of pg_dump that copies it.

    \b
    bioclip-plugin store backup --store results.db --output backups/results-2026-05-31.db
    """
    from bioclip_plugin.store.backup import back_up

    def report(done: int, total: int) -> None:
        line.expect(total)
        line.reach(done)

    with ProgressLine("Copying", unit="pages") as line:
        made = back_up(store, output, progress=report)
    print_lines(
        console_for(),
        f"Backup: {made.path}, {made.size:,} bytes, {made.rows:,} rows, tables of version {made.version}; checked against the store",
    )


@store.command("info")
@store_option
@json_option
def info(store: str, as_json: bool) -> None:
    """Show the kind, version and size of a store: rows and bytes by layer, images by run, and space that can be freed.

    \b
    bioclip-plugin store info --store results.db
    """
    with open_store(store) as opened:
        found = opened.info()
    if as_json:
        runs = [
            {"run": one.run.id, "status": one.run.status, "listed": one.listed, "done": one.done, "failed": one.failed,
             "todo": one.todo, "regions": one.regions, "worked_on": one.worked_on}
            for one in found.runs
        ]  # fmt: skip
        tables = [{"table": one.name, "rows": one.rows, "bytes": one.bytes} for one in found.tables]
        print_json({"address": found.address, "kind": found.kind, "version": found.version, "bytes": found.bytes,
                    "free_bytes": found.free_bytes, "log_bytes": found.log_bytes, "dead_rows": found.dead_rows,
                    "method": found.method, "tables": tables, "runs": runs,
                    "half_deleted": list(found.half_deleted)})  # fmt: skip
        return
    console = console_for()
    print_lines(
        console,
        f"{found.address}: {found.kind}, tables of version {found.version}, {size_of(found.bytes)}",
        f"Unused pages: {size_of(found.free_bytes)}; write-ahead log: {size_of(found.log_bytes)}"
        if found.dead_rows is None
        else f"Rows to vacuum, by the statistics of the server: {found.dead_rows:,}",
        *(f"Run {number} is half deleted; `runs delete {number}` or `store compact` finishes that."
          for number in found.half_deleted),
        f"Bytes of tables are {found.method}, with their indexes.",
    )  # fmt: skip
    whole = max(1, sum(one.bytes for one in found.tables))
    rows = [(one.name, one.rows, size_of(one.bytes), f"{one.bytes / whole:.1%}") for one in found.tables]
    print_table(console, ("table", "rows", "size", "share"), rows)
    of_runs = [
        (
            one.run.id,
            "worked on" if one.worked_on else one.run.status,
            one.listed,
            one.done,
            one.failed,
            one.todo,
            one.regions,
        )
        for one in found.runs
    ]
    print_table(console, ("run", "status", "images", "done", "failed", "to do", "regions"), of_runs)
    print_lines(
        console, f"Rows that nobody needs are counted by: {command('store compact', dry_run=True, store=found.address)}"
    )


@store.command("compact")
@click.option("--dry-run", is_flag=True, help="Count the rows that nobody needs, and change nothing.")
@click.option(
    "--full",
    is_flag=True,
    help="On PostgreSQL, rewrite the tables (VACUUM FULL): nobody can use a table meanwhile. SQLite always rewrites its file.",
)
@store_option
@json_option
def compact(dry_run: bool, full: bool, store: str, as_json: bool) -> int:
    """Remove rows that no run and no review needs, and give their space back.

    Such rows are left by killed deletions, changed files and replaced boxes. Rewriting an SQLite file needs free space twice
    the size of what stays in it. The command can be repeated after any interruption.

    \b
    bioclip-plugin store compact --store results.db
    bioclip-plugin store compact --full --store postgresql+psycopg://me@server/results
    """
    console = console_for(to_stderr=as_json)
    with (
        ProgressLine("Compacting", unit="steps", console=console_for(to_stderr=True)) as line,
        open_store(store) as opened,
    ):

        def stage(name: str) -> Callable[[int, int], None]:
            line.stage(name, 0, 0, "rows")
            return lambda done, total: line.stage(name, done, total, "rows")

        done = opened.compact(full=full, dry_run=dry_run, stage=stage)
    if as_json:
        print_json({"dry_run": dry_run, "finished": list(done.finished), "rows": dict(done.rows),
                    "bytes_before": done.bytes_before, "bytes_after": done.bytes_after, "left": list(done.left)})  # fmt: skip
    else:
        rows = ", ".join(f"{count:,} {name}" for name, count in sorted(done.rows.items()))
        begun = ", ".join(map(str, done.finished))
        print_lines(
            console,
            f"Half deleted: run {begun}"
            if begun and dry_run
            else f"Finished the deletion of run {begun}."
            if begun
            else "",
            f"{'Would remove' if dry_run else 'Removed'} {rows or 'nothing: every row is needed'}.",
            f"Size: {size_of(done.bytes_before)}, {'about ' if dry_run else ''}{size_of(done.bytes_after)} afterwards.",
            *(f"Not done: {sentence}." for sentence in done.left),
        )
    return EXIT_WITH_FAILURES if done.left else EXIT_DONE


@store.command("index")
@click.option("--run", "runs", type=COUNT, multiple=True, help="Number of a run, repeatable (default: all runs).")
@store_option
def index(runs: tuple[int, ...], store: str) -> int:
    """Rebuild what is derived from a store for browsing and search: the columns of its runs, and the matrix of its features.

    Both are beside an SQLite store (results.db.view, results.db.search), else in the cache, and are brought up to date whenever they
    are used; the command is for a copied store, after a fault, or before many people begin. Columns of deleted runs are removed.

    \b
    bioclip-plugin store index --store results.db
    bioclip-plugin store index --run 3 --store postgresql+psycopg://me@server/results
    """
    from bioclip_plugin.browsing import keeping
    from bioclip_plugin.browsing.view import RunView
    from bioclip_plugin.searching.searcher import open_features

    lines: list[str] = []
    with ProgressLine("Indexing", unit="blocks") as line, open_store(store) as opened:

        def stage(name: str, unit: str) -> Callable[[int, int], None]:
            line.stage(name, 0, 0, unit)
            return lambda done, total: line.stage(name, done, total, unit)

        known = [run.id for run in opened.runs()]
        for number in runs or known:
            view = RunView.open(opened, number, rebuild=True, progress=stage(f"Columns of run {number}", "blocks"))
            lines += [f"Run {number}: {number_of(len(view.columns), 'row')}", *(f"  {note}" for note in view.notes)]
        folder = keeping.folder_of(opened)
        if removed := keeping.forget_others(folder, known):
            lines.append(f"Removed the columns of {number_of(removed, 'deleted run')}")
        for one in opened.feature_sets():
            features, notes = open_features(opened, one, rebuild=True, progress=stage("Features", "features"))
            lines += [
                f"Feature set {one.number}: {number_of(len(features), 'feature')}",
                *(f"  {note}" for note in (*notes, *features.notes)),
            ]
    print_lines(console_for(), *map(printable, lines), f"Columns: {folder}")
    return EXIT_DONE
