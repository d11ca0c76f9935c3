"""Fewer foreign keys and an index less on PostgreSQL, and room for updates on the pages of images and listings."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_KEYS = {
    "answers": ["answer_set", "region"],
    "decisions": ["decision_set", "region"],
    "features": ["content", "feature_set"],
    "listed_regions": ["media", "run"],
    "listing": ["run"],
}


def upgrade() -> None:
    """Bring the tables of version 0003 to version 0004; those of SQLite stay as they are, since they would be written anew."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _KEYS.items():
        for column in columns:
            op.drop_constraint(f"fk_bioclip_{table}_{column}", f"bioclip_{table}", type_="foreignkey")
    op.drop_index("ix_bioclip_listing_run_status", "bioclip_listing")
    for table in ("listing", "media"):
        op.execute(f"ALTER TABLE bioclip_{table} SET (fillfactor = 50)")
