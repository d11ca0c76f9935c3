"""The version of a database's tables, and upgrades to ours; alembic is imported only where it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from sqlalchemy import Connection, Engine, text

from bioclip_core.errors import InstallationError, StoreError, first_line, raise_if_of_host
from bioclip_core.next_commands import command
from bioclip_core.process.imports import METADATA_ADVICE, is_about_metadata
from bioclip_core.process.quiet import quiet
from bioclip_plugin.store.database.address import shown
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.database.schema import PREFIX, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

HEAD = "0005"
"""The newest migration; a test compares it with the folder, so that opening a store need not read the folder."""

READABLE = frozenset({"0002", "0003", "0004"})
"""Earlier versions that lack only what no run of theirs has: a store that cannot be written is read as it is."""

_with_confidences: WeakSet[Engine] = WeakSet()
"""Engines of databases whose listed regions have a confidence of their own."""
_with_audit: WeakSet[Engine] = WeakSet()
"""Engines of databases with a table for the audit sample."""
_LOCK = 0x62696F636C6970  # "bioclip": one program at a time makes or upgrades the tables of a PostgreSQL database


def version_of(connection: Connection) -> str | None:
    """Return the version of the database's tables, None without tables of ours.

    Raises:
        StoreError: for tables of ours without a version.
    """
    version = _stated(connection)
    if version is None:
        names = {*connection.dialect.get_table_names(connection)} - {VERSION_TABLE}
        if any(name.startswith(PREFIX) for name in names):
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
    return str(version).strip() or None if version is not None else None


def is_newer(version: str) -> bool:
    """True for the version of a later bioclip-plugin; False for one that is known, and for a text that none would write."""
    return len(version) == len(HEAD) and version.isascii() and version.isdigit() and version > HEAD


def lacks_confidences(connection: Connection) -> bool:
    """True for tables of before version 0003, whose listed regions have no confidence of their own; they can only be read."""
    if connection.engine in _with_confidences:
        return False
    if (version_of(connection) or "") < "0003":
        return True
    _with_confidences.add(connection.engine)
    return False


def lacks_audit(connection: Connection) -> bool:
    """True for tables of before version 0005, which have no audit sample; they can only be read."""
    if connection.engine in _with_audit:
        return False
    if (version_of(connection) or "") < "0005":
        return True
    _with_audit.add(connection.engine)
    return False


def bring_up(database: Database, *, create: bool, upgrade: bool) -> str | None:
    """Make the tables in an empty database, or upgrade older ones if that is allowed.

    Returns:
        The version that was found, None for an empty database.

    Raises:
        StoreError: for an unknown version, an old one that may not be upgraded here, and an empty database that may not
            be filled.
    """
    found = database.read(version_of)
    if found == HEAD:
        return found
    where = shown(database.url)
    if found is None and not create:
        raise StoreError(f"the database {where} holds no store of ours: check the address")
    if found is not None and found not in known_versions():
        raise StoreError(
            f"the store {where} was written by another version of bioclip-plugin (tables {found}, ours are {HEAD}): "
            "upgrade bioclip-plugin, or use another store"
        )
    if found in READABLE and database.read_only:
        return found
    if found is not None and database.read_only:
        raise StoreError(
            f"the store {where} has the tables of an older version ({found}, ours are {HEAD}) and cannot be upgraded, since "
            f"{database.read_only}"
        )
    if found is not None and not upgrade:
        raise StoreError(
            f"the store {where} has the tables of an older version ({found}, ours are {HEAD}): make a copy, then run "
            f"`{command('store upgrade', store=where)}`"
        )
    database.migrate(_migrate)
    return found


def known_versions() -> list[str]:
    """Return all versions that can be upgraded from, oldest first."""
    return [script.revision for script in reversed(list(_scripts().walk_revisions()))]


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if version_of(connection) == HEAD:  # another program was faster
        return
    migrate(connection, HEAD)
    if connection.dialect.name == "sqlite":  # it checks no foreign keys while tables change
        broken = [row for row in connection.execute(text("PRAGMA foreign_key_check")) if row[0].startswith(PREFIX)]
        if broken:
            raise StoreError(
                f"the upgrade was rolled back: {len(broken)} rows of {broken[0][0]} refer to rows that do not exist; "
                "check the file with `store info`"
            )


def migrate(connection: Connection, revision: str) -> None:
    """Run the migrations up to ``revision`` inside the connection's transaction."""
    with _importing_alembic():
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext

    scripts = _scripts()
    with EnvironmentContext(
        Config(attributes={"connection": connection}),
        scripts,
        fn=lambda current, _: scripts._upgrade_revs(revision, current),
        destination_rev=revision,
    ):
        scripts.run_env()


@contextmanager
def _importing_alembic() -> Iterator[None]:
    """Import alembic quietly.

    Raises:
        InstallationError: if it is missing or damaged: no fault of the store.
    """
    with quiet():
        try:
            yield
        except Exception as error:
            raise_if_of_host(error)
            advice = (
                METADATA_ADVICE
                if is_about_metadata(error)
                else "install it again: pip install --force-reinstall alembic"
            )
            raise InstallationError(
                f"alembic, which makes the tables of stores, cannot be imported: {first_line(error)}; {advice}"
            ) from error


def _scripts() -> ScriptDirectory:
    with _importing_alembic():
        from alembic.script import ScriptDirectory

    return ScriptDirectory(Path(__file__).parent / "migrations")
