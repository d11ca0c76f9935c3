"""Report of an evaluation (``report.html``): one file with its pictures inside, readable on a phone and on paper, without scripts or
network."""

from __future__ import annotations

from html import escape

from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.report import accuracy, others, pairs_part, species
from bioclip_training.evaluation.report.first_screen import first_screen, title_of
from bioclip_training.evaluation.report.style import STYLE

_PARTS = (
    species.species, species.label_more, pairs_part.pairs, species.curve, accuracy.by_level, accuracy.comparison, accuracy.parts_table,
    accuracy.ladder, accuracy.few_shot, others.calibration, others.consensus, others.retrieval, others.failures, others.provenance,
)  # fmt: skip


def report_html(outcome: Outcome) -> str:
    """Return the whole report as HTML."""
    body = "\n".join(filter(None, (part(outcome) for part in _PARTS)))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title_of(outcome))}</title><style>{STYLE}</style></head>\n<body>\n<main>{first_screen(outcome, body)}\n{body}"
        "</main>\n</body></html>\n"
    )
