"""Stage ``duplicates``: records with equal bytes and with near images, which of them stays, and the groups that they form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bioclip_core.nouns import number_of
from bioclip_training.catalog.duplicates import Joined
from bioclip_training.curation.columns import DUPLICATES, RANK_COLUMNS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.database import opened, parts_in, streamed
from bioclip_training.curation.imaging.deciding import (
    STAYS,
    Candidate,
    NearPair,
    Preference,
    Verdict,
    decided_equal,
    decided_near,
)
from bioclip_training.curation.imaging.looks import looks_in
from bioclip_training.curation.imaging.lookup import LARGEST_BUCKET, NEIGHBOURS, Pairs, pairs_within
from bioclip_training.curation.imaging.originals import of_originals
from bioclip_training.curation.imaging.tasks import BOX_COLUMNS
from bioclip_training.curation.stages import Stage, StageWork

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EQUAL = "equal to another record, which stays"
NEAR = "nearly equal to another record, which stays"
CONFLICT = "with the bytes or the original of another record and another label"
_LARGE_GROUP = 1000
_BATCH = 16_384


@dataclass(frozen=True)
class DuplicatesStage(Stage):
    """Find duplicates."""

    name: str = "duplicates"
    version: int = 4
    needs: tuple[str, ...] = ("images", "names", "records")

    def settings(self, config: Curation) -> dict[str, Any]:
        options = config.duplicates
        return {
            "near": options.near, "distance": options.distance, "group_distance": options.group_distance,
            "precedence": list(config.ranked_sources), "is_explicit": bool(config.precedence),
        }  # fmt: skip

    def inputs(self, config: Curation) -> Mapping[str, Path]:  # noqa: ARG002
        return {}

    def run(self, work: StageWork) -> None:
        found = _Found()
        preference = Preference(work.config.ranked_sources, bool(work.config.precedence))
        with opened(work) as database:
            _find_equal(database, work, preference, found)
            if work.config.duplicates.near:
                _find_near(database, work, preference, found)
        _report(work, found)
        groups = found.joined_groups()
        for part in work.parts_of("images"):
            name = part.stem.removeprefix("part-")
            if not work.is_finished(name):
                with work.part(name, DUPLICATES) as out:
                    out.write(_rows(parquet.read_table(part, columns=["key"])["key"], found, groups))


@dataclass(slots=True)
class _Found:
    """Everything about the records that have a duplicate or a near image."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    exact_groups: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    together: list[tuple[str, str]] = field(default_factory=list)
    """Keys of records of one group."""
    hidden: set[str] = field(default_factory=set)
    """Keys of records whose bytes and region another one has, which is looked up in their place."""

    def joined_groups(self) -> dict[str, str]:
        """Return the smallest key of the group of each record that is in one with others."""
        keys = sorted({key for pair in self.together for key in pair})
        places = {key: place for place, key in enumerate(keys)}
        joined = Joined(len(keys))
        for one, other in self.together:
            joined.join(places[one], places[other])
        return {key: keys[root] for key, root in zip(keys, joined.roots().tolist(), strict=True)}


def _find_equal(database: DuckDBPyConnection, work: StageWork, preference: Preference, found: _Found) -> None:
    images = parts_in(work.before["images"])
    shared = of_originals(database, images, parts_in(work.before["records"]))
    database.register("shared", pa.table({"key": pa.array(sorted(shared.hashes), pa.string())}))
    database.execute(
        f"CREATE TEMP TABLE wanted AS SELECT key FROM {images} SEMI JOIN (SELECT sha256 FROM {images} "
        "WHERE unreadable = '' GROUP BY sha256 HAVING count(*) > 1) USING (sha256) WHERE unreadable = '' UNION FROM shared"
    )
    database.unregister("shared")
    records = list(_candidates(database, work))
    copies = shared.copies({record.key: record for record in records}, work.config.duplicates.group_distance)
    decided = decided_equal(records, preference, copies)
    found.verdicts |= {key: verdict for key, verdict in decided.items() if verdict != STAYS}
    found.together += [(keys[0], key) for keys in shared.groups for key in keys[1:]]
    if copies:
        work.tally.count("images that were made of the file of another one, by published hashes", len(copies))
    first_of_content: dict[str, str] = {}
    first_of_region: dict[tuple[str, Any], str] = {}
    for record in records:
        found.candidates[record.key] = record
        first = first_of_content.setdefault(record.sha256, record.key)
        if first != record.key:
            found.together.append((first, record.key))
        found.exact_groups[record.key] = first_of_region.setdefault(record.content, record.key)
    _hide_all_but_one(records, found)
    database.execute("DROP TABLE wanted")


def _hide_all_but_one(records: Iterable[Candidate], found: _Found) -> None:
    """Leave one record of each region to be looked up: the one that stays, or the first one of those that have no equal one that stays."""
    for record in records:
        verdict = found.verdicts.get(record.key)
        if verdict is not None and (verdict.kind == "equal" or found.exact_groups[record.key] != record.key):
            found.hidden.add(record.key)


def _find_near(database: DuckDBPyConnection, work: StageWork, preference: Preference, found: _Found) -> None:
    options = work.config.duplicates
    keys, looks = looks_in(work.parts_of("images"), found.hidden)
    threads = work.threads
    pairs = pairs_within(looks, options.group_distance, threads=threads, progress=work.progress)
    del looks
    listed = [
        NearPair(keys[i].decode(), keys[j].decode(), bits)
        for i, j, bits in zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True)
    ]
    _say_hot(work, pairs)
    wanted = sorted({key for pair in listed for key in (pair.one, pair.other)})
    database.register("wanted", pa.table({"key": pa.array(wanted, pa.string())}))
    found.candidates |= {record.key: record for record in _candidates(database, work)}
    found.together += [(pair.one, pair.other) for pair in listed]
    may_stay = [pair for pair in listed if pair.one not in found.verdicts and pair.other not in found.verdicts]
    verdicts, apart = decided_near(may_stay, found.candidates, preference, options.distance)
    _follow(verdicts, found)
    found.verdicts |= verdicts
    work.tally.count("pairs of near images", len(listed))
    for reason, (count, example) in sorted(apart.counts.items()):
        work.tally.count(reason, count)
        work.tally.note(f"{reason}, such as {example}")


def _follow(verdicts: Mapping[str, Verdict], found: _Found) -> None:
    """Let equal duplicates of a record that is a near duplicate itself point to the record that stays."""
    for key, verdict in list(found.verdicts.items()):
        if further := verdicts.get(verdict.duplicate_of):
            found.verdicts[key] = Verdict(further.duplicate_of, verdict.kind, verdict.conflict)


def _say_hot(work: StageWork, pairs: Pairs) -> None:
    if pairs.hot_buckets:
        work.tally.note(
            f"{number_of(pairs.hot_buckets, 'band')} of the hashes {'has' if pairs.hot_buckets == 1 else 'have'} more than "
            f"{LARGEST_BUCKET} images (up to {pairs.largest_bucket:,}), such as blank images and plates: each of these was compared "
            f"with its {NEIGHBOURS} neighbours in the order of the hashes, and not with all"
        )


def _candidates(database: DuckDBPyConnection, work: StageWork) -> Iterator[Candidate]:
    """Yield the records of the table ``wanted``, sorted by sha256 and key."""
    boxes = ", ".join(f'r."{name}"' for name in BOX_COLUMNS)
    ranks = ", ".join(f'l."{name}" AS "label_{name}"' for name in RANK_COLUMNS)
    query = (
        f"SELECT i.key, i.sha256, i.width, i.height, r.source, r.record_id, r.observation_id, r.event_id, r.event_date, {boxes}, "
        f"l.rank, {ranks} FROM {parts_in(work.before['images'])} i SEMI JOIN wanted USING (key) "
        f"JOIN {parts_in(work.before['records'])} r USING (key) LEFT JOIN {parts_in(work.before['names'])} l USING (key) "
        "ORDER BY i.sha256, i.key"
    )
    # Equal sources, contents and lineages are one object, since there may be millions of records.
    shared: dict[Any, Any] = {}
    for batch in streamed(database, query, _BATCH):
        yield from (_candidate(row, shared) for row in batch.to_pylist())


def _candidate(row: Mapping[str, Any], shared: dict[Any, Any]) -> Candidate:
    def one(value: Any) -> Any:
        return shared.setdefault(value, value)

    sides = [row[name] for name in BOX_COLUMNS]
    x, y, w, h = sides
    date = row["event_date"] or ""
    return Candidate(
        row["key"], one(row["source"]), row["record_id"], one(row["sha256"]), None if None in sides else (x, y, w, h),
        (row["width"] or 0) * (row["height"] or 0), one(tuple(row[f"label_{name}"] or "" for name in RANK_COLUMNS)), one(row["rank"] or ""),
        row["observation_id"] or "", row["event_id"] or "", date if ":" in date else "",
    )  # fmt: skip


def _report(work: StageWork, found: _Found) -> None:
    tally = work.tally
    for key, verdict in found.verdicts.items():
        record = found.candidates[key]
        if verdict.conflict:
            tally.drop(CONFLICT, 1, f"{record.shown}: {verdict.conflict}")
        elif verdict.duplicate_of:
            stays = found.candidates[verdict.duplicate_of]
            tally.drop(EQUAL if verdict.kind == "equal" else NEAR, 1, f"{record.shown}, of {stays.shown}")
    sizes = np.unique(list(found.joined_groups().values()), return_counts=True)[1]
    if len(sizes):
        tally.count("groups of equal or near images", len(sizes))
        tally.count("records in the largest of these groups", int(sizes.max()))
    if len(sizes) and sizes.max() > _LARGE_GROUP:
        tally.note(
            f"the largest group of near images has {int(sizes.max()):,} records, all of which go to one side of a split; "
            "a smaller duplicates.group_distance makes smaller groups"
        )
    if not work.config.precedence:
        tally.note(
            "no precedence of sources is given: of equal and near images the record with the better label stays, then the larger "
            f"image, then the source by name ({', '.join(work.config.ranked_sources)}); records of equal bytes whose labels "
            "contradict each other are left out"
        )


def _rows(keys: pa.ChunkedArray, found: _Found, groups: Mapping[str, str]) -> pa.Table:
    listed: Sequence[str] = keys.to_pylist()
    verdicts = [found.verdicts.get(key, STAYS) for key in listed]
    return pa.table({
        "key": keys, "exact_group": [found.exact_groups.get(key, key) for key in listed],
        "near_group": [groups.get(key, key) for key in listed], "duplicate_of": [verdict.duplicate_of for verdict in verdicts],
        "duplicate_kind": [verdict.kind for verdict in verdicts], "conflict": [verdict.conflict for verdict in verdicts],
    })  # fmt: skip
