"""``bioclip-plugin store``: maintenance of a result store."""

from __future__ import annotations

import click

from bioclip_plugin.commands.options import store_option
from bioclip_plugin.commands.reporting import console_for
from bioclip_plugin.store import open_store


@click.group()
def store() -> None:
    """Maintain a result store.

    \b
    bioclip-plugin store upgrade --store postgresql+psycopg://me@server/results
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
