"""Tables that ``export`` wrote as a source of labels: their reviews are labels, the answers of the model are none."""

from __future__ import annotations

from dataclasses import replace

from bioclip_core.cells import column_name, moment_of, plain_cells
from bioclip_core.names import clean_name
from bioclip_plugin.formats.shared.exported import unguarded
from bioclip_plugin.formats.shared.review_rows import verdict_of
from bioclip_training.catalog.evidence import reviewed
from bioclip_training.catalog.naming.names import NAME_COLUMNS
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import SkippedRow

ANSWER = "answer of a model"


def reviewed_answer(item: LabelledItem) -> LabelledItem | SkippedRow:
    """Return a row of an exported table with its review as the label; a row without a review is skipped."""
    cells = plain_cells(item.cells)
    word, name, by = (
        unguarded(clean_name(cells.get(column))) for column in ("reviewverdict", "reviewscientificname", "reviewer")
    )
    if not word and not name:
        reason = (
            "the row has an answer of a model and no review; review it, or give a table with names that people gave"
        )
        return SkippedRow(item.uri, item.source, ANSWER, reason)
    moment = moment_of(cells.get("reviewedat"))
    kept = {key: value for key, value in item.cells.items() if column_name(str(key)) not in NAME_COLUMNS}
    verdict = verdict_of(word) if word else "taxon"
    if verdict == "taxon":
        return replace(item, cells={**kept, "scientificName": name}, evidence=reviewed(moment, by))
    words = (verdict or word).replace("_", " ")
    about = replace(item, cells=kept, evidence=reviewed(moment, by, verdict=words))
    return SkippedRow(item.uri, item.source, "no taxon", f"the review says {words}", item=about)
