"""What is odd about a checklist: references that lead nowhere or in a circle, and ids that come twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping

from bioclip_training.taxonomy.rows import BY_NAME


def check(database: sqlite3.Connection) -> Counter[str]:
    """Settle references by name, remove repeated rows, and count what is odd."""
    odd: Counter[str] = Counter()
    odd["accepted names by name that are not listed"] = _settle_names(database)
    odd["rows that are listed twice"] = _remove_repeated(database)
    for what, question in (
        ("ids that several names have", "SELECT count(*) FROM (SELECT 1 FROM names GROUP BY id HAVING count(*) > 1)"),
        ("parents that are missing", _missing("parent")),
        ("accepted ids that point nowhere", _missing("accepted")),
        (
            "synonyms without an accepted name",
            "SELECT count(*) FROM names WHERE status NOT IN ('accepted', 'doubtful') AND accepted = ''",
        ),
    ):
        odd[what] = database.execute(question).fetchone()[0]
    odd["names in a circle of parents"] = _in_circles(_parents(database))
    chains = dict(
        database.execute(
            "SELECT one.id, one.accepted FROM names AS one JOIN names AS other ON other.id = one.accepted WHERE other.accepted != ''"
        ).fetchall()
    )
    odd["synonyms of synonyms"] = len(chains)
    odd["synonyms in a circle"] = _in_circles(chains)
    return +odd


def _missing(column: str) -> str:
    """Counts distinct references first: most names share their parents."""
    return (
        f"SELECT coalesce(sum(n), 0) FROM (SELECT {column} AS target, count(*) AS n FROM names WHERE {column} != '' GROUP BY {column}) "
        "WHERE NOT EXISTS (SELECT 1 FROM names WHERE id = target)"
    )


def _settle_names(database: sqlite3.Connection) -> int:
    """Turn references by name into ids: an accepted name of that key, of the same kingdom where there are several."""
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
        ids = {own for own, of in found if len(found) == 1 or of == kingdom}
        lost += len(ids) != 1
        database.execute(
            "UPDATE names SET accepted = ? WHERE rowid = ?", (ids.pop() if len(ids) == 1 else reference, rowid)
        )
    database.commit()
    return lost


def _remove_repeated(database: sqlite3.Connection) -> int:
    """Remove rows that say the same as an earlier one of their id."""
    if database.execute("SELECT 1 FROM names GROUP BY id HAVING count(*) > 1 LIMIT 1").fetchone() is None:
        return 0
    same = "id, key, authorship, rank, status, accepted, parent"
    removed = database.execute(
        f"DELETE FROM names WHERE id IN (SELECT id FROM names GROUP BY id HAVING count(*) > 1) "
        f"AND rowid NOT IN (SELECT min(rowid) FROM names GROUP BY {same})"
    ).rowcount
    database.commit()
    return removed


def _parents(database: sqlite3.Connection) -> dict[str, str]:
    """The parent of each name that is a parent itself: higher taxa only, so that it fits in memory."""
    return dict(
        database.execute(
            "SELECT id, parent FROM names WHERE parent != '' AND id IN (SELECT DISTINCT parent FROM names)"
        ).fetchall()
    )


def _in_circles(parent_of: Mapping[str, str]) -> int:
    """How many stand in a circle themselves: following the references leads back to them."""
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
