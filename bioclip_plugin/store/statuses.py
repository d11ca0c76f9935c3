"""Statuses of runs, in a module that the command line can import without numpy."""

from __future__ import annotations

from typing import Literal, get_args

RunStatus = Literal["running", "finished", "interrupted", "failed"]
RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
