"""The first tables: runs and their three layers, media, regions, features, answers, decisions, listing, reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0001"
down_revision = None

# As they were at this version: a migration never reads the present schema.
INTEGER: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text()
BLOB = sa.LargeBinary()


def upgrade() -> None:
    """Create the tables of version 0001, each after the tables that it refers to."""
    _create_layers_and_media()
    _create_answers()
    _create_runs()


def _create_layers_and_media() -> None:
    # Without foreign keys, unlike the others: see the comment in schema.py.
    _create(
        "candidates",
        *_columns(INTEGER, "answer_set", "region", "rank", "position", "taxon"),
        *_columns(REAL, "probability"),
        key=("answer_set", "region", "rank", "position"),
        rowid=False,
    )
    _create("contents", _id(), *_columns(TEXT, "sha256"), *_columns(INTEGER, "frame", "size"),
            unique=("sha256", "frame", "size"))  # fmt: skip
    _create("feature_sets", _id(), *_columns(TEXT, "feature_id", "settings"), *_columns(INTEGER, "dimension"),
            unique=("feature_id",))  # fmt: skip
    _create(
        "taxa",
        _id(),
        *_columns(TEXT, "key"),
        *_columns(INTEGER, "rank"),
        *_columns(
            TEXT, "kingdom", "phylum", "class", "order", "family", "genus", "species", "common_name", "source_id"
        ),
        unique=("key",),
    )
    _create("answer_sets", _id(), *_columns(TEXT, "answer_id"), *_columns(INTEGER, "feature_set"),
            *_columns(TEXT, "settings"), refers={"feature_set": "feature_sets"}, unique=("answer_id",))  # fmt: skip
    box = ("x", "y", "w", "h")
    _create(
        "features",
        *_columns(INTEGER, "feature_set", "content", *box),
        *_columns(BLOB, "vector", null=True),
        refers={"content": "contents", "feature_set": "feature_sets"},
        key=("feature_set", "content", *box),
    )
    _create(
        "media",
        _id(),
        *_columns(TEXT, "uri"),
        *_columns(INTEGER, "frame"),
        *_columns(INTEGER, "size", "mtime_ns", "content", null=True),
        *_columns(TEXT, "captured_at", null=True),
        *_columns(INTEGER, "utc_offset_minutes", "month", null=True),
        *_columns(TEXT, "country", "region", null=True),
        *_columns(REAL, "latitude", "longitude", null=True),
        *_columns(TEXT, "deployment", "sequence", "metadata", null=True),
        refers={"content": "contents"},
        unique=("uri", "frame"),
    )
    _create("decision_sets", _id(), *_columns(TEXT, "rule_id"), *_columns(INTEGER, "answer_set"),
            *_columns(TEXT, "settings"), refers={"answer_set": "answer_sets"}, unique=("rule_id",))  # fmt: skip
    detector = ("detector", "detector_version")
    _create(
        "regions",
        _id(),
        *_columns(INTEGER, "media", *box),
        *_columns(TEXT, *detector, "category"),
        *_columns(REAL, "confidence", null=True),
        refers={"media": "media"},
        unique=("media", *box, *detector),
    )


def _create_answers() -> None:
    _create(
        "answers",
        *_columns(INTEGER, "answer_set", "region"),
        *_columns(TEXT, "flags"),
        refers={"answer_set": "answer_sets", "region": "regions"},
        key=("answer_set", "region"),
        indexes=(("region",),),
        rowid=False,
    )
    _create(
        "decisions",
        *_columns(INTEGER, "decision_set", "region"),
        *_columns(INTEGER, "taxon", "rank", null=True),
        *_columns(REAL, "probability", null=True),
        refers={"decision_set": "decision_sets", "region": "regions", "taxon": "taxa"},
        key=("decision_set", "region"),
        indexes=(("region",),),
        rowid=False,
    )
    _create(
        "reviews",
        _id(),
        *_columns(TEXT, "uid", "kind"),
        *_columns(INTEGER, "media", "region", null=True),
        *_columns(TEXT, "event", null=True),
        *_columns(TEXT, "verdict"),
        *_columns(INTEGER, "taxon", null=True),
        *_columns(TEXT, "reviewer", "reviewed_at", "comment"),
        refers={"media": "media", "region": "regions", "taxon": "taxa"},
        unique=("uid",),
        indexes=(("media",),),
    )


def _create_runs() -> None:
    _create(
        "runs",
        _id(),
        *_columns(TEXT, "key"),
        *_columns(INTEGER, "decision_set"),
        *_columns(TEXT, "status", "created_at", "begun_at"),
        *_columns(TEXT, "ended_at", null=True),
        *_columns(TEXT, "sources", "settings", "provenance", "earlier_provenance", "counts"),
        refers={"decision_set": "decision_sets"},
        unique=("key",),
    )
    _create(
        "failures",
        *_columns(INTEGER, "run", "media"),
        *_columns(TEXT, "stage", "reason", "failed_at"),
        *_columns(INTEGER, "attempts"),
        refers={"media": "media", "run": "runs"},
        key=("run", "media"),
        indexes=(("media",),),
        rowid=False,
    )
    _create(
        "listed_regions",
        *_columns(INTEGER, "run", "media", "position", "region"),
        refers={"media": "media", "region": "regions", "run": "runs"},
        key=("run", "media", "position"),
        indexes=(("media",),),
        rowid=False,
    )
    _create(
        "listing",
        *_columns(INTEGER, "run", "media", "position", "status"),
        *_columns(TEXT, "stated", null=True),
        refers={"media": "media", "run": "runs"},
        key=("run", "media"),
        unique=("run", "position"),
        indexes=(("media",), ("run", "status")),
        rowid=False,
    )


def _id() -> sa.Column[int]:
    return sa.Column("id", INTEGER, sa.Identity(), nullable=False)


def _columns(kind: sa.types.TypeEngine[Any], *names: str, null: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=null) for name in names]


def _create(
    name: str,
    *columns: sa.Column[Any],
    key: Sequence[str] = ("id",),
    refers: Mapping[str, str] | None = None,
    unique: Sequence[str] = (),
    indexes: Sequence[Sequence[str]] = (),
    rowid: bool = True,
) -> None:
    """Create one table; its constraints are named after the table and their columns.

    Args:
        refers: the tables that columns refer to by their ids.
        rowid: False makes a table WITHOUT ROWID on SQLite.
    """
    table = f"bioclip_{name}"
    constraints: list[sa.Constraint] = [
        sa.ForeignKeyConstraint([column], [f"bioclip_{other}.id"], name=f"fk_{table}_{column}")
        for column, other in (refers or {}).items()
    ]
    constraints.append(sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"))
    if unique:
        constraints.append(sa.UniqueConstraint(*unique, name=f"uq_{table}_{'_'.join(unique)}"))
    op.create_table(table, *columns, *constraints, sqlite_strict=True, sqlite_with_rowid=rowid)
    for index in indexes:
        op.create_index(f"ix_{table}_{'_'.join(index)}", table, list(index))
