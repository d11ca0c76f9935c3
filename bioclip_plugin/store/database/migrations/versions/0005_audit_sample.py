"""The audit sample: images that were drawn once, up front, for honest figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0005"
down_revision = "0004"

# As they were at this version: a migration never reads the present schema.
INTEGER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
TEXT = sa.Text()
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")


def upgrade() -> None:
    """Bring the tables of version 0004 to version 0005."""
    op.create_table(
        "bioclip_audit_items",
        sa.Column("media", INTEGER, nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("event", "stratum")),
        sa.Column("inclusion", REAL, nullable=False),
        sa.Column("drawn_at", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_audit_items_media"),
        sa.PrimaryKeyConstraint("media", name="pk_bioclip_audit_items"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
