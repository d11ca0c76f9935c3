"""Parity check as part of the benchmark run: without the same answers as pybioclip, the speed means nothing."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import fixtures, parity

RESULT = Path(__file__).parent / "results" / ("quick-parity.json" if fixtures.QUICK else "parity.json")


def test_answers_equal_those_of_pybioclip_for_98_percent_of_photos() -> None:
    comparisons = parity.measure()
    RESULT.write_text(json.dumps(parity.report(comparisons), indent=1) + "\n", encoding="utf-8")
    assert [row for row in comparisons if not row.holds] == []
