"""Stage ``leakage``: records whose image, observation or species is in an evaluation set, and a report that goes with the shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bioclip_core.files.whole import write_whole
from bioclip_training.curation.columns import LEAKS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.database import opened, parts_in, streamed
from bioclip_training.curation.imaging.evaluation_items import EvaluationItems, check_sets, evaluation_items
from bioclip_training.curation.imaging.identities import identities
from bioclip_training.curation.imaging.images import looks_id
from bioclip_training.curation.imaging.leak_report import PAGE_FILE, REPORT_FILE, leak_html, leak_report, report_text
from bioclip_training.curation.imaging.looks import looks_in
from bioclip_training.curation.imaging.lookup import pairs_between
from bioclip_training.curation.imaging.originals import contents, originals
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.stages import StageWork

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KINDS = ("image", "near", "observation", "taxon")
_PART = "000"
_BATCH = 65_536


@dataclass(frozen=True)
class LeakageStage:
    """Compare the records with every evaluation set."""

    name: str = "leakage"
    version: int = 5
    needs: tuple[str, ...] = ("images", "names", "records")

    def settings(self, config: Curation) -> dict[str, Any]:
        sets = {
            f"evaluation_sets.{name}": {
                "suite": entry.suite, "layout": entry.layout, "options": dict(entry.options), "taxa": entry.taxa,
                "file_names": entry.file_names,
            }
            for name, entry in sorted(config.evaluation_sets.items())
        }  # fmt: skip
        if not sets:
            return {}
        names = {f"names.{name}": value for name, value in NamesStage().settings(config).items()}
        options = config.duplicates
        return {**sets, **names, "looks": looks_id(), "near": options.near, "distance": options.group_distance}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        if not config.evaluation_sets:
            return {}
        sets = {f"evaluation set {name}": entry.path for name, entry in config.evaluation_sets.items()}
        return {**sets, **NamesStage().inputs(config)}

    def check(self, config: Curation) -> None:
        check_sets(config)

    def run(self, work: StageWork) -> None:
        with opened(work) as database:
            database.execute(
                "CREATE TEMP TABLE leaks (key VARCHAR, evaluation_set VARCHAR, kind VARCHAR, evaluation_item VARCHAR)"
            )
            items = None
            if work.config.evaluation_sets:
                items = evaluation_items(work)
                _find(database, work, items)
            else:
                work.tally.note(
                    "no evaluation set is named, so that nothing was compared: evaluation_sets in the configuration"
                )
            _write(database, work)
            report = leak_report(database, work, items)
        write_whole(work.folder / REPORT_FILE, report_text(report))
        write_whole(work.folder / PAGE_FILE, leak_html(report))
        work.keep(REPORT_FILE)
        work.keep(PAGE_FILE)


def _find(database: DuckDBPyConnection, work: StageWork, items: EvaluationItems) -> None:
    images, records, names = (parts_in(work.before[stage]) for stage in ("images", "records", "names"))
    database.execute(
        f"CREATE TEMP TABLE item AS SELECT key, source AS evaluation_set, record_id FROM {parts_in(items.records)}"
    )
    _add(
        database, "image",
        f"SELECT t.key, item.evaluation_set, item.record_id FROM ({contents(images)} UNION ALL {originals(records)}) t "
        f"JOIN ({contents(parts_in(items.images))} UNION ALL {originals(parts_in(items.records))}) e USING (content) "
        "JOIN item ON item.key = e.key",
    )  # fmt: skip
    if work.config.duplicates.near:
        _find_near(database, work, items)
    for with_files in (False, True):
        sets = [name for name, entry in work.config.evaluation_sets.items() if entry.file_names is with_files]
        if sets:
            chosen = f"(SELECT * FROM {parts_in(items.records)} WHERE source IN (SELECT unnest($sets)))"
            _add(
                database, "observation",
                f"SELECT t.key, e.source, item.record_id FROM ({identities(records, file_names=with_files)}) t "
                f"JOIN ({identities(chosen, file_names=with_files)}) e USING (id) JOIN item ON item.key = e.key",
                {"sets": sets},
            )  # fmt: skip
    _add(
        database, "taxon",
        f"WITH taxa AS (SELECT evaluation_set, genus, species, kingdom, min(record_id) AS record_id FROM {parts_in(items.names)} "
        "JOIN item USING (key) WHERE genus <> '' AND species <> '' GROUP BY ALL) "
        f"SELECT t.key, taxa.evaluation_set, taxa.record_id FROM {names} t JOIN taxa USING (genus, species) "
        "WHERE t.kingdom = taxa.kingdom OR t.kingdom = '' OR taxa.kingdom = ''",
    )  # fmt: skip


def _find_near(database: DuckDBPyConnection, work: StageWork, items: EvaluationItems) -> None:
    item_keys, item_looks = looks_in(sorted(items.images.glob("*.parquet")))
    keys, looks = looks_in(work.parts_of("images"))
    found = pairs_between(
        looks, item_looks, work.config.duplicates.group_distance, threads=work.threads, progress=work.progress
    )
    del looks
    database.register(
        "near",
        pa.table({"key": _texts(keys[found.i]), "item_key": _texts(item_keys[found.j])}),
    )
    _add(
        database, "near",
        "SELECT near.key, item.evaluation_set, item.record_id FROM near JOIN item ON item.key = item_key "
        "ANTI JOIN (SELECT key, evaluation_set FROM leaks WHERE kind = 'image') same "
        "ON same.key = near.key AND same.evaluation_set = item.evaluation_set",
    )  # fmt: skip
    database.unregister("near")


def _texts(keys: np.ndarray[Any, np.dtype[np.bytes_]]) -> pa.Array:
    return pa.array(keys.astype(str), pa.string())


def _add(database: DuckDBPyConnection, kind: str, query: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Add leaks: one row per record and set, with the first item by its id."""
    database.execute(
        f"INSERT INTO leaks SELECT key, evaluation_set, '{kind}', min(item) FROM ({query}) AS found(key, evaluation_set, item) "
        "GROUP BY key, evaluation_set",
        dict(parameters or {}),
    )


def _write(database: DuckDBPyConnection, work: StageWork) -> None:
    if work.is_finished(_PART):
        return
    with work.part(_PART, LEAKS) as part:
        query = "SELECT key, evaluation_set, kind, evaluation_item FROM leaks ORDER BY ALL"
        for batch in streamed(database, query, _BATCH):
            part.write(batch)
    counts = database.execute("SELECT evaluation_set, kind, count(*) FROM leaks GROUP BY ALL ORDER BY ALL").fetchall()
    for name, kind, count in counts:
        work.tally.count(f"records that leak into {name} by {kind}", count)
