"""Codes of what a report found."""

from __future__ import annotations

from bioclip_plugin.doctor import Report


def codes(report: Report) -> list[str]:
    """Return the codes of problems and notes."""
    return [problem.code for problem in (*report.problems, *report.notes)]
