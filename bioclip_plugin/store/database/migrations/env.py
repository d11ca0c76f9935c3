"""Alembic's environment: runs migrations on the connection that ``versions.migrate`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from bioclip_plugin.store.database.schema import PREFIX, VERSION_TABLE, metadata


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    # Hosts put our tables into their own database: theirs are none of our business.
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
