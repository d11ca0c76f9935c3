"""The first tables: runs and their three layers, media, regions, features, answers, decisions, listing, reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As they were at this version: a migration never reads the present schema.
INTEGER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text()
BLOB = sa.LargeBinary()


def upgrade() -> None:
    """Make the tables of version 0001."""
    op.create_table(
        "bioclip_candidates",
        sa.Column("answer_set", INTEGER, nullable=False),
        sa.Column("region", INTEGER, nullable=False),
        sa.Column("rank", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.Column("taxon", INTEGER, nullable=False),
        sa.Column("probability", REAL, nullable=False),
        sa.PrimaryKeyConstraint("answer_set", "region", "rank", "position", name="pk_bioclip_candidates"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bioclip_contents",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("frame", INTEGER, nullable=False),
        sa.Column("size", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_contents"),
        sa.UniqueConstraint("sha256", "frame", "size", name="uq_bioclip_contents_sha256_frame_size"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_feature_sets",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("feature_id", TEXT, nullable=False),
        sa.Column("settings", TEXT, nullable=False),
        sa.Column("dimension", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_feature_sets"),
        sa.UniqueConstraint("feature_id", name="uq_bioclip_feature_sets_feature_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_taxa",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("rank", INTEGER, nullable=False),
        sa.Column("kingdom", TEXT, nullable=False),
        sa.Column("phylum", TEXT, nullable=False),
        sa.Column("class", TEXT, nullable=False),
        sa.Column("order", TEXT, nullable=False),
        sa.Column("family", TEXT, nullable=False),
        sa.Column("genus", TEXT, nullable=False),
        sa.Column("species", TEXT, nullable=False),
        sa.Column("common_name", TEXT, nullable=False),
        sa.Column("source_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_taxa"),
        sa.UniqueConstraint("key", name="uq_bioclip_taxa_key"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_answer_sets",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("answer_id", TEXT, nullable=False),
        sa.Column("feature_set", INTEGER, nullable=False),
        sa.Column("settings", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["feature_set"], ["bioclip_feature_sets.id"], name="fk_bioclip_answer_sets_feature_set"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_answer_sets"),
        sa.UniqueConstraint("answer_id", name="uq_bioclip_answer_sets_answer_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_features",
        sa.Column("feature_set", INTEGER, nullable=False),
        sa.Column("content", INTEGER, nullable=False),
        sa.Column("x", INTEGER, nullable=False),
        sa.Column("y", INTEGER, nullable=False),
        sa.Column("w", INTEGER, nullable=False),
        sa.Column("h", INTEGER, nullable=False),
        sa.Column("vector", BLOB, nullable=True),
        sa.ForeignKeyConstraint(["content"], ["bioclip_contents.id"], name="fk_bioclip_features_content"),
        sa.ForeignKeyConstraint(["feature_set"], ["bioclip_feature_sets.id"], name="fk_bioclip_features_feature_set"),
        sa.PrimaryKeyConstraint("feature_set", "content", "x", "y", "w", "h", name="pk_bioclip_features"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_media",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("uri", TEXT, nullable=False),
        sa.Column("frame", INTEGER, nullable=False),
        sa.Column("size", INTEGER, nullable=True),
        sa.Column("mtime_ns", INTEGER, nullable=True),
        sa.Column("content", INTEGER, nullable=True),
        sa.Column("captured_at", TEXT, nullable=True),
        sa.Column("utc_offset_minutes", INTEGER, nullable=True),
        sa.Column("month", INTEGER, nullable=True),
        sa.Column("country", TEXT, nullable=True),
        sa.Column("region", TEXT, nullable=True),
        sa.Column("latitude", REAL, nullable=True),
        sa.Column("longitude", REAL, nullable=True),
        sa.Column("deployment", TEXT, nullable=True),
        sa.Column("sequence", TEXT, nullable=True),
        sa.Column("metadata", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["content"], ["bioclip_contents.id"], name="fk_bioclip_media_content"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_media"),
        sa.UniqueConstraint("uri", "frame", name="uq_bioclip_media_uri_frame"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_decision_sets",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("rule_id", TEXT, nullable=False),
        sa.Column("answer_set", INTEGER, nullable=False),
        sa.Column("settings", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["answer_set"], ["bioclip_answer_sets.id"], name="fk_bioclip_decision_sets_answer_set"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_decision_sets"),
        sa.UniqueConstraint("rule_id", name="uq_bioclip_decision_sets_rule_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_regions",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("media", INTEGER, nullable=False),
        sa.Column("x", INTEGER, nullable=False),
        sa.Column("y", INTEGER, nullable=False),
        sa.Column("w", INTEGER, nullable=False),
        sa.Column("h", INTEGER, nullable=False),
        sa.Column("detector", TEXT, nullable=False),
        sa.Column("detector_version", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=False),
        sa.Column("confidence", REAL, nullable=True),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_regions_media"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_regions"),
        sa.UniqueConstraint(
            "media",
            "x",
            "y",
            "w",
            "h",
            "detector",
            "detector_version",
            name="uq_bioclip_regions_media_x_y_w_h_detector_detector_version",
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_answers",
        sa.Column("answer_set", INTEGER, nullable=False),
        sa.Column("region", INTEGER, nullable=False),
        sa.Column("flags", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["answer_set"], ["bioclip_answer_sets.id"], name="fk_bioclip_answers_answer_set"),
        sa.ForeignKeyConstraint(["region"], ["bioclip_regions.id"], name="fk_bioclip_answers_region"),
        sa.PrimaryKeyConstraint("answer_set", "region", name="pk_bioclip_answers"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bioclip_answers_region", "bioclip_answers", ["region"])
    op.create_table(
        "bioclip_decisions",
        sa.Column("decision_set", INTEGER, nullable=False),
        sa.Column("region", INTEGER, nullable=False),
        sa.Column("taxon", INTEGER, nullable=True),
        sa.Column("rank", INTEGER, nullable=True),
        sa.Column("probability", REAL, nullable=True),
        sa.ForeignKeyConstraint(
            ["decision_set"], ["bioclip_decision_sets.id"], name="fk_bioclip_decisions_decision_set"
        ),
        sa.ForeignKeyConstraint(["region"], ["bioclip_regions.id"], name="fk_bioclip_decisions_region"),
        sa.ForeignKeyConstraint(["taxon"], ["bioclip_taxa.id"], name="fk_bioclip_decisions_taxon"),
        sa.PrimaryKeyConstraint("decision_set", "region", name="pk_bioclip_decisions"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bioclip_decisions_region", "bioclip_decisions", ["region"])
    op.create_table(
        "bioclip_reviews",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("media", INTEGER, nullable=True),
        sa.Column("region", INTEGER, nullable=True),
        sa.Column("event", TEXT, nullable=True),
        sa.Column("verdict", TEXT, nullable=False),
        sa.Column("taxon", INTEGER, nullable=True),
        sa.Column("reviewer", TEXT, nullable=False),
        sa.Column("reviewed_at", TEXT, nullable=False),
        sa.Column("comment", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_reviews_media"),
        sa.ForeignKeyConstraint(["region"], ["bioclip_regions.id"], name="fk_bioclip_reviews_region"),
        sa.ForeignKeyConstraint(["taxon"], ["bioclip_taxa.id"], name="fk_bioclip_reviews_taxon"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_reviews"),
        sa.UniqueConstraint("uid", name="uq_bioclip_reviews_uid"),
        sqlite_strict=True,
    )
    op.create_index("ix_bioclip_reviews_media", "bioclip_reviews", ["media"])
    op.create_table(
        "bioclip_runs",
        sa.Column("id", INTEGER, sa.Identity(), nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("decision_set", INTEGER, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("created_at", TEXT, nullable=False),
        sa.Column("begun_at", TEXT, nullable=False),
        sa.Column("ended_at", TEXT, nullable=True),
        sa.Column("sources", TEXT, nullable=False),
        sa.Column("settings", TEXT, nullable=False),
        sa.Column("provenance", TEXT, nullable=False),
        sa.Column("earlier_provenance", TEXT, nullable=False),
        sa.Column("counts", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["decision_set"], ["bioclip_decision_sets.id"], name="fk_bioclip_runs_decision_set"),
        sa.PrimaryKeyConstraint("id", name="pk_bioclip_runs"),
        sa.UniqueConstraint("key", name="uq_bioclip_runs_key"),
        sqlite_strict=True,
    )
    op.create_table(
        "bioclip_failures",
        sa.Column("run", INTEGER, nullable=False),
        sa.Column("media", INTEGER, nullable=False),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("failed_at", TEXT, nullable=False),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_failures_media"),
        sa.ForeignKeyConstraint(["run"], ["bioclip_runs.id"], name="fk_bioclip_failures_run"),
        sa.PrimaryKeyConstraint("run", "media", name="pk_bioclip_failures"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bioclip_failures_media", "bioclip_failures", ["media"])
    op.create_table(
        "bioclip_listed_regions",
        sa.Column("run", INTEGER, nullable=False),
        sa.Column("media", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.Column("region", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_listed_regions_media"),
        sa.ForeignKeyConstraint(["region"], ["bioclip_regions.id"], name="fk_bioclip_listed_regions_region"),
        sa.ForeignKeyConstraint(["run"], ["bioclip_runs.id"], name="fk_bioclip_listed_regions_run"),
        sa.PrimaryKeyConstraint("run", "media", "position", name="pk_bioclip_listed_regions"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bioclip_listed_regions_media", "bioclip_listed_regions", ["media"])
    op.create_table(
        "bioclip_listing",
        sa.Column("run", INTEGER, nullable=False),
        sa.Column("media", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.Column("status", INTEGER, nullable=False),
        sa.Column("stated", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["media"], ["bioclip_media.id"], name="fk_bioclip_listing_media"),
        sa.ForeignKeyConstraint(["run"], ["bioclip_runs.id"], name="fk_bioclip_listing_run"),
        sa.PrimaryKeyConstraint("run", "media", name="pk_bioclip_listing"),
        sa.UniqueConstraint("run", "position", name="uq_bioclip_listing_run_position"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_bioclip_listing_media", "bioclip_listing", ["media"])
    op.create_index("ix_bioclip_listing_run_status", "bioclip_listing", ["run", "status"])
