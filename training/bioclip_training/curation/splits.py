"""Stage ``splits``: groups that are never on both sides, the split of each, and why a record is in none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_core.nouns import number_of
from bioclip_training.catalog.ahead import in_order
from bioclip_training.curation.columns import KEY, SPLITS
from bioclip_training.curation.components import components
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.database import opened, quoted, streamed
from bioclip_training.curation.excluding import aligned, filter_columns, leaks_by_key, reasons
from bioclip_training.curation.kinds import CAMERA_TRAP
from bioclip_training.curation.stages import StageWork, name_of_part
from bioclip_training.curation.tallies import Tally
from bioclip_training.curation.unseen import Unseen, read_species, unseen_species

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "records": ("source", "observation_id", "event_id", "locality", "published_split"),
    "names": ("genus", "species", "scientific_name", "unresolved"),
    "images": ("unreadable",),
    "kinds": ("image_kind",),
    "duplicates": ("near_group", "duplicate_of", "conflict"),
}
_GROUP_LEAKS = ("image", "near", "observation")
_TRAIN = ("train", "training")
_WORDS = {"validation": "val", "valid": "val", "training": "train"}
_BATCH = 65_536


@dataclass(frozen=True)
class SplitsStage:
    """Find groups and splits of all records."""

    name: str = "splits"
    version: int = 2
    needs: tuple[str, ...] = ("records", "names", "images", "kinds", "filters", "duplicates", "leakage")

    def settings(self, config: Curation) -> dict[str, Any]:
        split = {name: value for name, value in asdict(config.splits).items() if name != "unseen_species"}
        return {
            "seed": config.seed,
            **split,
            "exclude_kinds": sorted(config.kinds.exclude),
            "filters": {name: entry.exclude_from for name, entry in sorted(config.filters.items())},
            "taxa": {name: entry.taxa for name, entry in sorted(config.evaluation_sets.items())},
        }

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        listed = config.splits.unseen_species
        return {"splits.unseen_species": listed} if listed else {}

    def check(self, config: Curation) -> None:
        if config.splits.unseen_species:
            read_species(config.splits.unseen_species)

    def run(self, work: StageWork) -> None:
        parts = work.parts_of("records")
        steps = 2 * len(parts) + 2
        starts = np.cumsum([0, *(parquet.read_metadata(path).num_rows for path in parts)]).tolist()
        examined = in_order(
            partial(_examine, work, leaks_by_key(work)), zip(parts, starts, strict=False), work.threads, work.threads, name="bioclip-splits"
        )  # fmt: skip
        for number, _ in enumerate(examined):
            work.progress(number, steps)
        with opened(work) as database:
            database.execute(
                f"CREATE VIEW examined AS SELECT * FROM read_parquet({quoted(work.temporary / 'rows-*.parquet')})"
            )
            work.progress(len(parts) + 1, steps)
            _find_groups(database, starts[-1])
            _note_cameras(database, work)
            unseen = _find_unseen(database, work)
            _decide(database, work.config, unseen)
            work.progress(len(parts) + 2, steps)
            _write(database, work, parts, starts)
            _note_groups(database, work.tally)
            _note_genera(database, unseen, work.tally)


def _examine(work: StageWork, leaks: pa.Table, started: tuple[Path, int]) -> None:
    """Write what decides about the records of a part to a scratch file.

    ``row`` numbers all records in the order of their keys.

    Args:
        work: of the stage.
        leaks: of all records.
        started: the part of ``records``, and the number of its first record.
    """
    path, start = started
    filters = filter_columns(work)
    table = aligned(work, path, {**_COLUMNS, "filters": filters})
    own, counted = reasons(table, work.config, filters, leaks)
    rows = table.num_rows
    empty = pa.repeat("", rows)
    by_group = leaks.filter(pc.is_in(leaks["kind"], pa.array(_GROUP_LEAKS)))
    leaks_into = pc.take(by_group["evaluation_set"], pc.index_in(table[KEY], by_group[KEY].combine_chunks()))
    species = pc.if_else(pc.not_equal(table["species"], ""), pc.binary_join_element_wise(table["genus"], table["species"], " "), "") \
        if "species" in table.column_names else empty  # fmt: skip
    columns = {
        "row": pa.array(np.arange(start, start + rows)),
        KEY: table[KEY],
        "near": table["near_group"] if "near_group" in table.column_names else table[KEY],
        "observation": _token(table, "observation_id"),
        "event": _token(table, "event_id"),
        **_cameras(table, work.config),
        "published": _published(table["published_split"]),
        "species": species,
        "taxon": table["scientific_name"] if "scientific_name" in table.column_names else empty,
        "own": own,
        "counted": counted,
        "leak": pc.fill_null(leaks_into, ""),
    }
    parquet.write_table(pa.table(columns), work.temporary / f"rows-{name_of_part(path)}.parquet", compression="lz4")


def _token(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return the id of a cluster of its source; empty without one."""
    return pc.if_else(pc.equal(table[name], ""), "", pc.binary_join_element_wise(table["source"], table[name], "\0"))


def _cameras(table: pa.Table, config: Curation) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Return which records are of camera traps, and the location of each if it makes its group; empty without one."""
    if "image_kind" not in table.column_names:
        return {"is_trap": pa.repeat(False, table.num_rows), "camera": pa.repeat("", table.num_rows)}
    is_trap = pc.equal(table["image_kind"], CAMERA_TRAP)
    is_used = is_trap if config.splits.cameras == "location" else False
    return {"is_trap": is_trap, "camera": pc.if_else(is_used, _token(table, "locality"), "")}


def _published(words: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return stated splits in lower case, and the usual words for ``train`` and ``val``."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    for word, plain in _WORDS.items():
        lower = pc.if_else(pc.equal(lower, word), plain, lower)
    return lower


_EDGES_OF_CLUSTERS = """
SELECT row AS one, smallest AS other FROM examined
JOIN (SELECT {0}, min(row) AS smallest FROM examined WHERE {0} <> '' GROUP BY {0} HAVING count(*) > 1) USING ({0})
WHERE row <> smallest
"""
_NEAR_EDGES = """
SELECT one.row AS one, other.row AS other FROM examined one JOIN examined other ON one.near = other.key WHERE one.near <> one.key
"""


def _find_groups(database: DuckDBPyConnection, rows: int) -> None:
    """Make the table ``grouped``: the records with ``root``, the first row of the group of each."""
    edges = database.sql(
        " UNION ALL ".join([*map(_EDGES_OF_CLUSTERS.format, ("observation", "event", "camera")), _NEAR_EDGES])
    ).fetchnumpy()
    root_N = components(rows, np.asarray(edges["one"], np.int64), np.asarray(edges["other"], np.int64))
    moved = np.flatnonzero(root_N != np.arange(rows))
    database.register("moved", pa.table({"row": moved, "root": root_N[moved]}))
    database.execute(
        "CREATE TABLE grouped AS SELECT examined.row, key, coalesce(root, examined.row) AS root, published, species, taxon, own, leak "
        "FROM examined LEFT JOIN moved ON examined.row = moved.row"
    )
    database.unregister("moved")


def _find_unseen(database: DuckDBPyConnection, work: StageWork) -> Unseen:
    counts = database.sql(
        "SELECT species, count(*) FROM grouped WHERE own = '' AND species <> '' GROUP BY species"
    ).fetchall()
    unseen = unseen_species(work.config.splits, work.config.seed, dict(counts))
    if unseen.unknown:
        work.tally.note(
            f"{number_of(len(unseen.unknown), 'species', 'species')} of splits.unseen_species are in no record that may be used "
            f"(the first: {unseen.unknown[0]})"
        )
    if unseen.species:
        work.tally.count("species of the split unseen", len(unseen.species))
    return unseen


def _decide(database: DuckDBPyConnection, config: Curation, unseen: Unseen) -> None:
    """Make the tables ``special`` (groups that a rule decides about) and ``val`` (groups of the split ``val``)."""
    database.register("unseen", pa.table({"species": pa.array(unseen.species, pa.string())}))
    published = (
        "min(CASE WHEN published <> 'train' THEN nullif(published, '') END)" if config.splits.published else "NULL"
    )
    trained = "bool_or(published = 'train')" if config.splits.published else "false"
    database.execute(
        "CREATE TABLE special AS SELECT * FROM (SELECT root, min(nullif(leak, '')) AS leak, "
        f"bool_or(unseen.species IS NOT NULL AND own = '') AS has_unseen, {published} AS held_out, {trained} AS is_train "
        "FROM grouped LEFT JOIN unseen USING (species) GROUP BY root) "
        "WHERE leak IS NOT NULL OR has_unseen OR held_out IS NOT NULL OR is_train"
    )
    # like catalogs: the hash of the group decides, and the group of a taxon that lies deepest in train stays there
    share = f"sha256({quoted(f'{config.seed} val ')} || grouped.key)"
    limit = quoted(f"{min(round(config.splits.val * 2**64), 2**64 - 1):016x}")
    database.execute(
        "CREATE TABLE val AS WITH free AS (SELECT root, taxon FROM grouped LEFT JOIN special USING (root) "
        "WHERE own = '' AND special.root IS NULL GROUP BY root, taxon), "
        f"shares AS (SELECT row AS root, substr({share}, 1, 16) AS share FROM grouped WHERE row = root), "
        "of_taxa AS (SELECT taxon, root, share FROM free JOIN shares USING (root)), "
        "kept AS (SELECT arg_max(root, share || lpad(root::VARCHAR, 20, '0')) AS root FROM of_taxa GROUP BY taxon "
        f"HAVING max(share) < {limit}) "
        f"SELECT DISTINCT root FROM of_taxa WHERE share < {limit} AND root NOT IN (SELECT root FROM kept)"
    )


_RESULT = """
SELECT grouped.row AS row, grouped.key AS key, head.key AS "group",
    CASE WHEN grouped.own <> '' THEN grouped.own
         WHEN special.leak IS NOT NULL THEN 'its group leaks into ' || special.leak
         WHEN has_unseen AND unseen.species IS NULL THEN 'its group has a species of the split unseen' ELSE '' END AS excluded,
    CASE WHEN excluded <> '' THEN '' WHEN unseen.species IS NOT NULL THEN 'unseen' WHEN held_out IS NOT NULL THEN held_out
         WHEN is_train THEN 'train' WHEN val.root IS NOT NULL THEN 'val' ELSE 'train' END AS split,
    held_out IS NOT NULL AND published <> '' AND published <> held_out AS is_moved
FROM grouped JOIN (SELECT row, key FROM grouped WHERE row = root) head ON grouped.root = head.row
LEFT JOIN special ON grouped.root = special.root
LEFT JOIN val ON grouped.root = val.root
LEFT JOIN unseen ON grouped.species = unseen.species
ORDER BY row
"""


def _write(database: DuckDBPyConnection, work: StageWork, parts: list[Path], starts: list[int]) -> None:
    waiting = pa.Table.from_batches([], schema=pa.schema([*SPLITS, ("is_moved", pa.bool_())]))
    batches = streamed(database, _RESULT, _BATCH)
    for number, path in enumerate(parts):
        work.progress(len(parts) + 2 + number, 2 * len(parts) + 2)
        rows = starts[number + 1] - starts[number]
        found = [waiting]
        while sum(table.num_rows for table in found) < rows:
            found.append(pa.Table.from_batches([next(batches)]).select(waiting.column_names).cast(waiting.schema))
        table = pa.concat_tables(found)
        mine, waiting = table.slice(0, rows), table.slice(rows)
        if not work.is_finished(name_of_part(path)):
            with work.part(name_of_part(path), SPLITS) as part:
                part.write(mine)
                _count(mine, part.tally, path, work.temporary / f"rows-{name_of_part(path)}.parquet")
    for _ in batches:
        raise AssertionError("a record has more than one split")


def _count(table: pa.Table, tally: Tally, records: Path, examined: Path) -> None:
    """Count the records of a part by split and by reason, with an example of each reason."""
    counted = parquet.read_table(examined, columns=["counted"])["counted"]
    why = pc.if_else(pc.equal(counted, ""), table["excluded"], counted)
    splits = pa.table({"split": table["split"], "why": why, "row": pa.array(range(table.num_rows))})
    for entry in splits.group_by(["split", "why"]).aggregate([([], "count_all"), ("row", "min")]).to_pylist():
        if entry["why"]:
            row = parquet.read_table(records, columns=["source", "record_id"]).slice(entry["row_min"], 1).to_pylist()[0]
            tally.drop(entry["why"], entry["count_all"], f"{row['source']}: {row['record_id']}")
        else:
            tally.count(f"records in {entry['split']}", entry["count_all"])
    if moved := pc.sum(table["is_moved"]).as_py():
        tally.count("records that another split than the published one has, since their group is held out", moved)


def _note_cameras(database: DuckDBPyConnection, work: StageWork) -> None:
    """Say by what images of camera traps are grouped."""
    [(traps, placed, cameras)] = database.sql(
        "SELECT count(*), count(*) FILTER (camera <> ''), count(DISTINCT camera) FILTER (camera <> '') FROM examined WHERE is_trap"
    ).fetchall()
    if not traps:
        return
    if work.config.splits.cameras == "event":
        work.tally.note(
            f"{traps:,} images of camera traps are grouped by event, so that one camera may be on both sides (splits.cameras: event)"
        )
        return
    rest = f"; {traps - placed:,} state no location and are grouped by event" if placed < traps else ""
    work.tally.note(
        f"{placed:,} images of camera traps are grouped by location ({number_of(cameras, 'location')}; splits.cameras: location){rest}"
    )


def _note_groups(database: DuckDBPyConnection, tally: Tally) -> None:
    [(groups, largest)] = database.sql(
        "SELECT count(*), max(size) FROM (SELECT count(*) AS size FROM grouped GROUP BY root)"
    ).fetchall()
    tally.count("groups", groups)
    tally.count("records of the largest group", largest or 0)


def _note_genera(database: DuckDBPyConnection, unseen: Unseen, tally: Tally) -> None:
    """Say how many records are named by the genus of an unseen species alone: some of them may be of it."""
    genera = sorted({name.split(" ", 1)[0] for name in unseen.species})
    database.register("genera", pa.table({"taxon": pa.array(genera, pa.string())}))
    [(rows,)] = database.sql(
        "SELECT count(*) FROM grouped JOIN genera USING (taxon) WHERE own = '' AND species = ''"
    ).fetchall()
    if rows:
        tally.note(
            "of species of the split unseen, their genus alone is named in some records, which may be of them and stay in their splits: "
            f"{rows:,}"
        )
