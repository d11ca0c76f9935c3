"""Tables on a terminal that is too narrow for them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bioclip_plugin.commands.reporting import print_table

HEADER = ("run", "status", "begun", "model", "images", "done", "failed", "to do", "sources")
ROW = (1, "finished", "2024-05-31", "demo", 4, 3, 1, 0, "photos")


@pytest.mark.parametrize(("width", "has_frames"), [(1, False), (20, False), (54, False), (80, True), (200, True)])
def test_a_table_that_does_not_fit_is_printed_as_lines(width: int, has_frames: bool) -> None:
    output = io.StringIO()
    print_table(Console(file=output, force_terminal=True, width=width), HEADER, iter([ROW]))
    if has_frames:
        assert "\u2502" in output.getvalue()
    else:
        assert output.getvalue().splitlines() == ["\t".join(HEADER), "\t".join(map(str, ROW))]
