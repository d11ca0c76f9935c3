"""Alembic's environment: migrations run on the connection of ``versions.migrate``, inside its transaction."""

from __future__ import annotations

from alembic import context

from bioclip_plugin.store.database.schema import PREFIX, VERSION_TABLE, metadata


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    # A host may keep our tables in its own database; its other tables are ignored.
    return kind != "table" or (name or "").startswith(PREFIX)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    include_name=_ours,
)
with context.begin_transaction():
    context.run_migrations()
