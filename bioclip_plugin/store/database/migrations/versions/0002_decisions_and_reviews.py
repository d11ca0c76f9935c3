"""Verdict, event and trail of decisions; regions that are not classified; details of reviews; category in a region's key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0002"
down_revision = "0001"

# As they were at this version: a migration never reads the present schema.
INTEGER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text()

_OLD_KEY = "uq_bioclip_regions_media_x_y_w_h_detector_detector_version"
_KEY = ["media", "x", "y", "w", "h", "detector", "detector_version", "category"]


def upgrade() -> None:
    """Bring the tables of version 0001 to version 0002."""
    for name in ("verdict", "event", "trail"):
        op.add_column("bioclip_decisions", sa.Column(name, TEXT, nullable=True))
    op.add_column("bioclip_listed_regions", sa.Column("classified", INTEGER, nullable=True))
    op.add_column("bioclip_reviews", sa.Column("details", TEXT, nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _new_regions_table()
    else:
        op.drop_constraint(_OLD_KEY, "bioclip_regions", type_="unique")
        # A short name of its own: PostgreSQL cuts longer ones at 63 characters, SQLAlchemy cuts them differently.
        op.create_unique_constraint("uq_bioclip_regions_key", "bioclip_regions", _KEY)


def _new_regions_table() -> None:
    """Move the rows to a new table, since SQLite cannot change a constraint; foreign keys are not checked meanwhile."""
    columns = "id, media, x, y, w, h, detector, detector_version, category, confidence"
    op.create_table(
        "bioclip_regions_0002",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        *(sa.Column(name, INTEGER, nullable=False) for name in ("media", "x", "y", "w", "h")),
        *(sa.Column(name, TEXT, nullable=False) for name in ("detector", "detector_version", "category")),
        sa.Column("confidence", REAL, nullable=True),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_regions_media"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_regions"),
        sa.UniqueConstraint(*_KEY, name="uq_bioclip_regions_key"),
        sqlite_strict=True,
    )
    op.execute(f"INSERT INTO bioclip_regions_0002 ({columns}) SELECT {columns} FROM bioclip_regions")
    op.drop_table("bioclip_regions")
    op.rename_table("bioclip_regions_0002", "bioclip_regions")
