"""``bioclip-plugin store``: maintenance of a result store."""

from __future__ import annotations

from pathlib import Path

import click

from bioclip_plugin.commands.options import output_option, store_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines
from bioclip_plugin.store import open_store


@click.group()
def store() -> None:
    """Maintain a result store.

    \b
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
