"""Which version of the tables a database has, and bringing it to ours; alembic is imported only where that is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database.address import shown
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.schema import PREFIX, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

HEAD = "0002"
"""The newest migration; a test ties it to the folder, so that opening need not read that."""

_LOCK = 0x62696F636C6970  # "bioclip": one program at a time makes or upgrades the tables of a PostgreSQL database


def version_of(connection: Connection) -> str | None:
    """The database's version, None where it has none of our tables.

    Raises:
        StoreError: if there are tables of ours but no version.
    """
    version = _stated(connection)
    if version is None:
        found = [name for name in connection.dialect.get_table_names(connection) if name.startswith(PREFIX)]
        if [name for name in found if name != VERSION_TABLE]:
            version = _stated(connection)  # another program may have made all of them since the first look
            if version is None:
                raise StoreError(
                    f"the store {shown(connection.engine.url)} has tables of ours but does not say of which version: "
                    f"restore it from a copy, or remove its tables that begin with {PREFIX}"
                )
    return version


def _stated(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if version is None else str(version)


def bring_up(database: Database, *, create: bool, upgrade: bool) -> str | None:
    """Make the tables where there are none, upgrade older ones where that is allowed.

    Returns:
        The version that was found, None for an empty database.

    Raises:
        StoreError: for a version that we do not know, an old one that may not be upgraded here, and an empty database
            that may not be filled.
    """
    found = database.read(version_of)
    if found == HEAD:
        return found
    if found is None and not create:
        raise StoreError(f"the database {shown(database.url)} holds no store of ours: check the address")
    if found is not None:
        _check_upgrade(found, shown(database.url), allowed=upgrade)
    database.migrate(_migrate)
    return found


def _check_upgrade(found: str, where: str, *, allowed: bool) -> None:
    if found not in known_versions():
        raise StoreError(
            f"the store {where} was written by another version of bioclip-plugin (tables {found}, ours are {HEAD}): "
            "upgrade bioclip-plugin, or use another store"
        )
    if not allowed:
        raise StoreError(
            f"the store {where} has the tables of an older version ({found}, ours are {HEAD}): make a copy, then run "
            f"`bioclip-plugin store upgrade --store {where}`"
        )


def known_versions() -> list[str]:
    """All versions that we can upgrade from, oldest first."""
    return [script.revision for script in reversed(list(_scripts().walk_revisions()))]


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if version_of(connection) != HEAD:  # somebody else may have been faster
        migrate(connection, HEAD)
        _check_references(connection)


def _check_references(connection: Connection) -> None:
    """Prove the foreign keys, which SQLite does not look at while tables change."""
    if connection.dialect.name == "sqlite":
        ours = [row for row in connection.execute(text("PRAGMA foreign_key_check")) if row[0].startswith(PREFIX)]
        if ours:
            raise StoreError(
                f"the upgrade was taken back: {len(ours)} rows of {ours[0][0]} point nowhere; check the file with `bioclip-plugin store`"
            )


def migrate(connection: Connection, revision: str) -> None:
    """Run the migrations up to ``revision`` inside the connection's transaction."""
    from alembic.runtime.environment import EnvironmentContext

    scripts = _scripts()
    context = EnvironmentContext(
        _config(), scripts, fn=lambda current, _: scripts._upgrade_revs(revision, current), destination_rev=revision
    )
    context.config.attributes["connection"] = connection
    with context:
        scripts.run_env()


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())
