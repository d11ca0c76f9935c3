"""Checks of a checklist: references that lead nowhere or in a circle, and duplicate ids."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping

from bioclip_training.taxonomy.rows import BY_NAME

_QUESTIONS = {
    "ids that several names have": "SELECT count(*) FROM (SELECT 1 FROM names GROUP BY id HAVING count(*) > 1)",
    **{
        # Distinct references are counted first: most names share their parents.
        what: f"SELECT coalesce(sum(n), 0) FROM (SELECT {column} AS target, count(*) AS n FROM names WHERE {column} != '' "
        f"GROUP BY {column}) WHERE NOT EXISTS (SELECT 1 FROM names WHERE id = target)"
        for what, column in (("parents that are missing", "parent"), ("accepted ids that point nowhere", "accepted"))
    },
    "synonyms without an accepted name": (
        "SELECT count(*) FROM names WHERE status NOT IN ('accepted', 'doubtful') AND accepted = ''"
    ),
}


def check(database: sqlite3.Connection) -> Counter[str]:
    """Turn references by name into ids, remove duplicate rows, and count the oddities."""
    odd: Counter[str] = Counter()
    odd["accepted names by name that are not listed"] = _settle_names(database)
    odd["rows that are listed twice"] = _remove_duplicates(database)
    for what, question in _QUESTIONS.items():
        odd[what] = database.execute(question).fetchone()[0]
    # Only names that are parents themselves: the higher taxa fit in memory.
    parents = "SELECT id, parent FROM names WHERE parent != '' AND id IN (SELECT DISTINCT parent FROM names)"
    odd["names in a circle of parents"] = _in_circles(dict(database.execute(parents).fetchall()))
    chains = dict(
        database.execute(
            "SELECT one.id, one.accepted FROM names AS one JOIN names AS other ON other.id = one.accepted WHERE other.accepted != ''"
        ).fetchall()
    )
    odd["synonyms of synonyms"] = len(chains)
    odd["synonyms in a circle"] = _in_circles(chains)
    return +odd


def _settle_names(database: sqlite3.Connection) -> int:
    """Turn references by name into ids: the accepted name with that key, of several the one in the same kingdom.

    Returns:
        The number of references that stay unsettled.
    """
    wanted = database.execute(
        "SELECT names.rowid, accepted, coalesce(kingdom, '') FROM names LEFT JOIN lineages ON number = lineage WHERE accepted LIKE ?",
        (f"{BY_NAME}%",),
    ).fetchall()
    lost = 0
    for rowid, reference, kingdom in wanted:
        found = database.execute(
            "SELECT id, coalesce(kingdom, '') FROM names LEFT JOIN lineages ON number = lineage "
            "WHERE key = ? AND status IN ('accepted', 'doubtful')",
            (reference.removeprefix(BY_NAME),),
        ).fetchall()
        ids = {taxon_id for taxon_id, other in found if len(found) == 1 or other == kingdom}
        if len(ids) == 1:
            database.execute("UPDATE names SET accepted = ? WHERE rowid = ?", (ids.pop(), rowid))
        else:
            lost += 1
    database.commit()
    return lost


def _remove_duplicates(database: sqlite3.Connection) -> int:
    """Remove rows with the same content as an earlier one of their id, and return how many."""
    duplicated = "SELECT id FROM names GROUP BY id HAVING count(*) > 1"
    if database.execute(f"{duplicated} LIMIT 1").fetchone() is None:
        return 0
    removed = database.execute(
        f"DELETE FROM names WHERE id IN ({duplicated}) "
        "AND rowid NOT IN (SELECT min(rowid) FROM names GROUP BY id, key, authorship, rank, status, accepted, parent)"
    ).rowcount
    database.commit()
    return removed


def _in_circles(parent_of: Mapping[str, str]) -> int:
    """Return how many are part of a circle themselves: following the references leads back to them."""
    settled: set[str] = set()
    count = 0
    for start in parent_of:
        path: dict[str, int] = {}
        at = start
        while at in parent_of and at not in settled and at not in path:
            path[at] = len(path)
            at = parent_of[at]
        if at in path:
            count += len(path) - path[at]
        settled.update(path)
    return count
