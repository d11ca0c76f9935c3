"""Report of a curation: rows in and out of each stage, and what each dropped and why, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bioclip_core.files.whole import write_whole
from bioclip_core.nouns import size_of
from bioclip_training.curation.manifests import StageManifest

REPORT_FILE, REPORT_JSON = "report.md", "report.json"


def write_report(
    output: Path, manifests: Sequence[StageManifest], unfinished: Sequence[str] = (), error: str = ""
) -> None:
    """Write ``report.md`` and ``report.json``; they depend on the results alone, not on how long they took.

    Args:
        output: folder of the curation.
        manifests: of the finished stages.
        unfinished: names of the other stages that the call was to finish.
        error: message of the error that stopped the first of them.
    """
    document = as_json(manifests) | ({"unfinished": list(unfinished), "error": error} if unfinished else {})
    write_whole(output / REPORT_JSON, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    write_whole(output / REPORT_FILE, "\n".join(_markdown(manifests, unfinished, error)) + "\n")


def as_json(manifests: Sequence[StageManifest]) -> dict[str, Any]:
    """Return the content of ``report.json`` about finished stages."""
    return {
        "stages": [
            {
                "stage": manifest.stage,
                "rows_in": manifest.rows_in,
                "rows_out": manifest.rows_out,
                "bytes": manifest.bytes,
                "content": manifest.content,
                "dropped": [
                    {"reason": entry.reason, "count": entry.count, "example": entry.example}
                    for entry in manifest.dropped
                ],
                "counts": dict(manifest.counts),
                "notes": list(manifest.notes),
            }
            for manifest in manifests
        ]
    }


def _markdown(manifests: Sequence[StageManifest], unfinished: Sequence[str], error: str) -> Iterator[str]:
    yield "# Curation"
    yield ""
    if unfinished:
        yield f"**Not finished:** {', '.join(unfinished)}." + (
            f" {unfinished[0]} stopped: {_cell(error)}" if error else ""
        )
        yield ""
    yield "| stage | rows in | rows out | dropped or marked | size |"
    yield "|---|---:|---:|---:|---:|"
    for manifest in manifests:
        dropped = sum(entry.count for entry in manifest.dropped)
        yield (
            f"| [{manifest.stage}](#{manifest.stage}) | {manifest.rows_in:,} | {manifest.rows_out:,} | {dropped:,} "
            f"| {size_of(manifest.bytes)} |"
        )
    for manifest in manifests:
        yield from ("", f"## {manifest.stage}")
        if manifest.dropped:
            yield from ("", "| dropped or marked | rows | example |", "|---|---:|---|")
            for entry in sorted(manifest.dropped, key=lambda entry: (-entry.count, entry.reason)):
                yield f"| {_cell(entry.reason)} | {entry.count:,} | {_cell(entry.example)} |"
        if manifest.counts:
            yield from ("", "| counted | |", "|---|---:|")
            yield from (f"| {_cell(name)} | {count:,} |" for name, count in manifest.counts.items())
        if manifest.notes:
            yield ""
            yield from (f"- {_cell(note)}" for note in manifest.notes)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
