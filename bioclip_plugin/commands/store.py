"""``bioclip-plugin store``: looking after a result store."""

from __future__ import annotations

import click

from bioclip_plugin.cli import EXIT_DONE
from bioclip_plugin.commands.options import store_option
from bioclip_plugin.commands.reporting import console_for


@click.group()
def store() -> None:
    """Look after a result store.

    \b
    bioclip-plugin store upgrade --store postgresql+psycopg://me@server/results
    """


@store.command("upgrade")
@store_option
def upgrade(store: str) -> int:
    """Bring a store's tables to this version. SQLite files are upgraded when they are opened; PostgreSQL only here.

    \b
    bioclip-plugin store upgrade --store postgresql+psycopg://me@server/results
    """
    from bioclip_plugin.store import Store

    with Store.open(store, create=False, upgrade=True) as opened:
        where, before, now = opened.shown_address, opened.upgraded_from, opened.version()
    said = f"was upgraded from version {before} to {now}" if before else f"has version {now} already; nothing was to do"
    console_for().print(f"The store {where} {said}.")
    return EXIT_DONE
