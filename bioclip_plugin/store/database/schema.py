"""The tables: the same on SQLite and PostgreSQL, all with the prefix ``bioclip_``, integers as keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects.sqlite import INTEGER, REAL
from sqlalchemy.types import TypeDecorator, TypeEngine

from bioclip_plugin.store.database.values import clean_text

PREFIX = "bioclip_"
VERSION_TABLE = "bioclip_alembic_version"


class Text(TypeDecorator[str]):
    """TEXT on both databases, cleaned of NULs, which PostgreSQL refuses, and of lone surrogates."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy's)
        """Return the text as it is stored, also where it is compared."""
        return None if value is None else clean_text(value)


# Strict SQLite tables know INTEGER, REAL, TEXT and BLOB alone; PostgreSQL gets BIGINT and DOUBLE PRECISION.
Integer: TypeEngine[int] = sa.BigInteger().with_variant(INTEGER(), "sqlite")
Real: TypeEngine[float] = sa.Double().with_variant(REAL(), "sqlite")
Blob = sa.LargeBinary()

RANK_CODES = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "label", "group")
"""A rank is stored as its position in this list; custom labels have ``label`` and ``group``."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


_ROOM_FOR_UPDATES: Any = {"postgresql_with": {"fillfactor": 50}}
"""Options of tables whose rows are inserted when an image is listed, and updated once when it was read: on the same page."""
_SQLITE_ALONE = {"checked by": "SQLite"}
"""Mark of the foreign keys that PostgreSQL does not have."""


def _table(name: str, *parts: Any, rowid: bool = True, **options: Any) -> Table:
    # A narrow table with a key of several integers is half as large on SQLite without a rowid.
    table = Table(PREFIX + name, metadata, *parts, sqlite_strict=True, sqlite_with_rowid=rowid, **options)
    for constraint in table.foreign_key_constraints:
        if constraint.elements[0].info == _SQLITE_ALONE:
            constraint.ddl_if(dialect="sqlite")
    return table


def _id() -> Column[int]:
    return Column("id", Integer, sa.Identity(), primary_key=True)


def _ref(name: str, table: str, *, null: bool = False) -> Column[int]:
    return Column(name, Integer, sa.ForeignKey(f"{PREFIX}{table}.id"), nullable=null)


def _unchecked_ref(name: str, table: str) -> Column[int]:
    """Return a reference that SQLite alone checks, which costs it little; PostgreSQL would look it up and lock it row by row.

    It is to the run of a batch or a layer of the run, which ``runs.check`` locks once per batch, or to an image, a region or
    a content that a foreign key of the listing keeps: without it, nobody needs the row.
    """
    return Column(name, Integer, sa.ForeignKey(f"{PREFIX}{table}.id", info=_SQLITE_ALONE), nullable=False)


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _real(name: str, *, null: bool = False) -> Column[float]:
    return Column(name, Real, nullable=null)


feature_sets = _table(
    "feature_sets", _id(), _text("feature_id"), _text("settings"), _int("dimension"), UniqueConstraint("feature_id")
)

answer_sets = _table(
    "answer_sets",
    _id(),
    _text("answer_id"),
    _ref("feature_set", "feature_sets"),
    _text("settings"),
    UniqueConstraint("answer_id"),
)

decision_sets = _table(
    "decision_sets",
    _id(),
    _text("rule_id"),
    _ref("answer_set", "answer_sets"),
    _text("settings"),
    UniqueConstraint("rule_id"),
)

runs = _table(
    "runs",
    _id(),
    _text("key"),
    _ref("decision_set", "decision_sets"),
    _text("status"),
    _text("created_at"),
    _text("begun_at"),
    _text("ended_at", null=True),
    _text("sources"),  # JSON, as are the next four
    _text("settings"),
    _text("provenance"),
    _text("earlier_provenance"),
    _text("counts"),
    UniqueConstraint("key"),
)

# The contents of files: two listed files with the same bytes share one row.
contents = _table(
    "contents", _id(), _text("sha256"), _int("frame"), _int("size"), UniqueConstraint("sha256", "frame", "size")
)

media = _table(
    "media",
    _id(),
    _text("uri"),
    _int("frame"),
    _int("size", null=True),
    _int("mtime_ns", null=True),
    _ref("content", "contents", null=True),
    _text("captured_at", null=True),  # wall-clock time in ISO 8601
    _int("utc_offset_minutes", null=True),  # null: unknown time zone
    _int("month", null=True),
    _text("country", null=True),
    _text("region", null=True),
    _real("latitude", null=True),
    _real("longitude", null=True),
    _text("deployment", null=True),
    _text("sequence", null=True),
    _text("metadata", null=True),  # JSON
    UniqueConstraint("uri", "frame"),
    **_ROOM_FOR_UPDATES,
)

# Boxes in 1/10,000 of the upright image; the whole image is 0, 0, 10000, 10000 with an empty detector.
regions = _table(
    "regions",
    _id(),
    _ref("media", "media"),
    _int("x"),
    _int("y"),
    _int("w"),
    _int("h"),
    _text("detector"),
    _text("detector_version"),
    _text("category"),
    _real("confidence", null=True),
    UniqueConstraint(
        "media", "x", "y", "w", "h", "detector", "detector_version", "category", name=f"uq_{PREFIX}regions_key"
    ),
)

# The vector is little-endian float16. Null is reserved for features that are kept in files of their own.
features = _table(
    "features",
    _unchecked_ref("feature_set", "feature_sets"),
    _unchecked_ref("content", "contents"),
    _int("x"),
    _int("y"),
    _int("w"),
    _int("h"),
    Column("vector", Blob, nullable=True),
    PrimaryKeyConstraint("feature_set", "content", "x", "y", "w", "h"),
)

# The detectors that run inside the pipeline; the boxes of files are stored with their regions alone.
detector_sets = _table("detector_sets", _id(), _text("detector_id"), _text("settings"), UniqueConstraint("detector_id"))

# All boxes of an image, those below any threshold too: a JSON list of [x, y, w, h, category, confidence], empty for none.
detections = _table(
    "detections",
    _ref("detector_set", "detector_sets"),
    _ref("content", "contents"),
    _text("boxes"),
    PrimaryKeyConstraint("detector_set", "content"),
    rowid=False,
)

# The key is a hash over all names and the rank, so that hemihomonyms are separate rows.
taxa = _table(
    "taxa",
    _id(),
    _text("key"),
    _int("rank"),
    _text("kingdom"),
    _text("phylum"),
    _text("class"),
    _text("order"),
    _text("family"),
    _text("genus"),
    _text("species"),
    _text("common_name"),
    _text("source_id"),
    UniqueConstraint("key"),
)

answers = _table(
    "answers",
    _unchecked_ref("answer_set", "answer_sets"),
    _unchecked_ref("region", "regions"),
    _text("flags"),  # separated by spaces
    PrimaryKeyConstraint("answer_set", "region"),
    Index(None, "region"),
    rowid=False,
)

# The largest table: eleven rows per image. ``rank`` is the requested rank, the taxon may be of a higher one. Without foreign
# keys, whose checks took three quarters of the insert's time on PostgreSQL; ``verify`` looks for rows that lost their answer
# or taxon.
candidates = _table(
    "candidates",
    _int("answer_set"),
    _int("region"),
    _int("rank"),
    _int("position"),
    _int("taxon"),
    _real("probability"),
    PrimaryKeyConstraint("answer_set", "region", "rank", "position"),
    rowid=False,
)

decisions = _table(
    "decisions",
    _unchecked_ref("decision_set", "decision_sets"),
    _unchecked_ref("region", "regions"),
    _ref("taxon", "taxa", null=True),  # null: no taxon was decided
    _int("rank", null=True),
    _real("probability", null=True),
    _text("verdict", null=True),  # null: ``taxon`` if a taxon is set, else ``unknown``
    _text("event", null=True),
    _text("trail", null=True),  # JSON: the steps of the rules
    PrimaryKeyConstraint("decision_set", "region"),
    Index(None, "region"),
    rowid=False,
)

# ``status`` is 0 todo, 1 done, 2 failed; ``stated`` a hash of the source's regions, null for the whole image, or words for an
# image that a detector has processed.
listing = _table(
    "listing",
    _unchecked_ref("run", "runs"),
    _ref("media", "media"),
    _int("position"),
    _int("status"),
    _text("stated", null=True),
    PrimaryKeyConstraint("run", "media"),
    UniqueConstraint("run", "position"),
    # PostgreSQL reads the run's part of the table instead, so that a change of status changes no index (a heap-only update).
    Index(None, "run", "status").ddl_if(dialect="sqlite"),
    Index(None, "media"),
    rowid=False,
    **_ROOM_FOR_UPDATES,
)

# The regions of an item in this run: the same image may have other boxes in another run of the same answer set.
listed_regions = _table(
    "listed_regions",
    _unchecked_ref("run", "runs"),
    _unchecked_ref("media", "media"),
    _int("position"),
    _ref("region", "regions"),
    _int("classified", null=True),  # 0: stored, but not answered by the model
    _real("confidence", null=True),  # of this run's detector or file; null: that of the region
    PrimaryKeyConstraint("run", "media", "position"),
    Index(None, "media"),
    rowid=False,
)

failures = _table(
    "failures",
    _ref("run", "runs"),
    _ref("media", "media"),
    _text("stage"),
    _text("reason"),
    _text("failed_at"),
    _int("attempts"),
    PrimaryKeyConstraint("run", "media"),
    Index(None, "media"),
    rowid=False,
)

# The writer draws ``uid``, so that an insert whose commit was not confirmed can be repeated.
reviews = _table(
    "reviews",
    _id(),
    _text("uid"),
    _text("kind"),
    _ref("media", "media", null=True),
    _ref("region", "regions", null=True),
    _text("event", null=True),
    _text("verdict"),
    _ref("taxon", "taxa", null=True),
    _text("reviewer"),
    _text("reviewed_at"),
    _text("comment"),
    _text("details", null=True),  # JSON
    UniqueConstraint("uid"),
    Index(None, "media"),
)

# Drawn once: all images of some events, drawn at random within each deployment. Reviews of them are never trained on.
audit_items = _table(
    "audit_items",
    _ref("media", "media"),
    _text("event"),
    _text("stratum"),
    _real("inclusion"),  # probability with which an event of the stratum was drawn
    _text("drawn_at"),
    PrimaryKeyConstraint("media"),
    rowid=False,
)
