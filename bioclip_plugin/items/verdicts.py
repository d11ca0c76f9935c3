"""Verdicts of rules and of reviewers."""

from __future__ import annotations

from typing import Literal, get_args

Verdict = Literal["taxon", "unknown", "blank", "person", "vehicle"]
"""Verdict of a decision that rules make."""
ReviewVerdict = Literal["taxon", "blank", "person", "vehicle", "unidentifiable", "not_in_label_set"]
"""Verdict of a review by a person."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
REVIEW_VERDICTS: tuple[ReviewVerdict, ...] = get_args(ReviewVerdict)
