"""Report of the leaks of a curation, as JSON and as a page: what was compared, what leaks how, and what becomes of it."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import SourceError
from bioclip_core.files.documents import read_document
from bioclip_training.curation.database import parts_in
from bioclip_training.curation.imaging.evaluation_items import EvaluationItems
from bioclip_training.curation.stages import StageWork
from bioclip_training.evaluation.report.style import STYLE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REPORT_FILE, PAGE_FILE = "leakage.json", "leakage.html"
FORMAT, VERSION = "bioclip-leakage", 1
_EXAMPLES = 5
_WORDS = {
    "image": "equal bytes or one original file",
    "near": "nearly the same image",
    "observation": "another image of one observation",
    "taxon": "an image of one species",
}


def read_leak_report(output: Path) -> dict[str, Any]:
    """Return the leakage report of a finished curation, which goes with its shards and with checkpoints that learnt from them.

    Args:
        output: folder of the curation.

    Raises:
        SourceError: if it has none.
    """
    file = output / "leakage" / REPORT_FILE
    return read_document(file, dict[str, Any], name="the leakage report", error=SourceError)


def report_text(report: dict[str, Any]) -> str:
    """Return the report as the text of its file."""
    return json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def leak_report(database: DuckDBPyConnection, work: StageWork, items: EvaluationItems | None) -> dict[str, Any]:
    """Return the report, from the table ``leaks`` of the stage's database."""
    [(records,)] = database.execute(f"SELECT count(*) FROM {parts_in(work.before['records'])}").fetchall()
    sets = {name: _of_set(database, work, items, name) for name in sorted(work.config.evaluation_sets) if items}
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "records": records,
        "near_distance": work.config.duplicates.group_distance if work.config.duplicates.near else None,
        "evaluation_sets": sets,
    }


def _of_set(database: DuckDBPyConnection, work: StageWork, items: EvaluationItems | None, name: str) -> dict[str, Any]:
    assert items is not None
    entry = work.config.evaluation_sets[name]
    [(count, images, unreadable, labelled)] = database.execute(
        "SELECT count(*), count(*) FILTER (i.unreadable = ''), count(*) FILTER (i.unreadable <> ''), "
        f"count(*) FILTER (n.species <> '') FROM {parts_in(items.records)} r LEFT JOIN {parts_in(items.images)} i USING (key) "
        f"LEFT JOIN {parts_in(items.names)} n USING (key) WHERE r.source = $name",
        {"name": name},
    ).fetchall()
    leaks = {
        kind: {
            "records": rows,
            "items": distinct,
            "excluded": kind != "taxon" or entry.taxa == "exclude",
            "examples": _examples(database, work, name, kind),
        }
        for kind, rows, distinct in database.execute(
            "SELECT kind, count(*), count(DISTINCT evaluation_item) FROM leaks WHERE evaluation_set = $name GROUP BY kind ORDER BY kind",
            {"name": name},
        ).fetchall()
    }
    return {
        "suite": entry.suite, "layout": entry.layout, "taxa": entry.taxa, "items": count, "readable_images": images,
        "unreadable_images": unreadable, "items_with_species": labelled, "leaks": leaks,
    }  # fmt: skip


def _examples(database: DuckDBPyConnection, work: StageWork, name: str, kind: str) -> list[dict[str, str]]:
    found = database.execute(
        "SELECT r.source, r.record_id, first.evaluation_item FROM (SELECT key, evaluation_item FROM leaks "
        f"WHERE evaluation_set = $name AND kind = $kind ORDER BY key LIMIT {_EXAMPLES}) first "
        f"JOIN {parts_in(work.before['records'])} r USING (key) ORDER BY r.key",
        {"name": name, "kind": kind},
    ).fetchall()
    return [{"source": source, "record": record, "item": item} for source, record, item in found]


def leak_html(report: dict[str, Any]) -> str:
    """Return the report as a page."""
    sets = report["evaluation_sets"]
    parts = [_set_html(name, found) for name, found in sets.items()]
    if not parts:
        parts = ["<p>No evaluation set was named in the configuration, so that nothing was compared.</p>"]
    distance = report["near_distance"]
    near = (
        "Near images were not looked for."
        if distance is None
        else f"Images count as near if at most {distance} of 144 bits of their perceptual hashes differ."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Leakage</title><style>{STYLE}</style></head>\n<body>\n<main><h1>Leakage into evaluation sets</h1>"
        f"<p>{report['records']:,} records were compared with {len(sets)} evaluation {'set' if len(sets) == 1 else 'sets'}. {near}</p>"
        + "\n".join(parts)
        + "</main>\n</body></html>\n"
    )


def _set_html(name: str, found: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{_WORDS[kind]}</td><td class="n">{leak["records"]:,}</td><td class="n">{leak["items"]:,}</td>'
        f"<td>{'left out of training' if leak['excluded'] else 'reported only'}</td><td>{_examples_html(leak['examples'])}</td></tr>"
        for kind, leak in ((kind, found["leaks"][kind]) for kind in _WORDS if kind in found["leaks"])
    )
    table = (
        '<div class="wide" tabindex="0"><table><thead><tr><th>leak</th><th class="n">records</th><th class="n">items of the set</th>'
        f"<th>what becomes of the records</th><th>examples</th></tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else "<p>No record leaks into this set.</p>"
    )
    unread = (
        f" {found['unreadable_images']:,} images of it cannot be read, and were not compared."
        if found["unreadable_images"]
        else ""
    )
    return f"<h2>{escape(name)}</h2><p>{found['items']:,} items, {found['items_with_species']:,} of them with a species.{unread}</p>{table}"


def _examples_html(examples: list[dict[str, str]]) -> str:
    return "<br>".join(
        f"{escape(example['source'])}: {escape(example['record'])} ↔ {escape(example['item'])}" for example in examples
    )
