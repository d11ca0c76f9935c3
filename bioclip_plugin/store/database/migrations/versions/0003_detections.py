"""Boxes of the detectors that run inside the pipeline, by content; the confidence of a box in each run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0003"
down_revision = "0002"

# As they were at this version: a migration never reads the present schema.
INTEGER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
TEXT = sa.Text()
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")


def upgrade() -> None:
    """Bring the tables of version 0002 to version 0003."""
    op.create_table(
        "bioclip_detector_sets",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("detector_id", "settings")),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_detector_sets"),
        sa.UniqueConstraint("detector_id", name="uq_bioclip_detector_sets_detector_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_detections",
        *(sa.Column(name, INTEGER, nullable=False) for name in ("detector_set", "content")),
        sa.Column("boxes", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["detector_set"], ["bioclip_detector_sets.id"], name="fk_bioclip_detections_detector_set"
        ),
        sa.ForeignKeyConstraint(["content"], ["bioclip_contents.id"], name="fk_bioclip_detections_content"),
        sa.PrimaryKeyConstraint("detector_set", "content", name="pk_bioclip_detections"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.add_column("bioclip_listed_regions", sa.Column("confidence", REAL, nullable=True))
