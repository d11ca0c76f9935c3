"""Output on consoles and pipes of Windows, whose encodings lack most letters of names."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_samples import Bioclip

from bioclip_plugin.cli import escape_what_cannot_be_written
from bioclip_plugin.commands.reporting import print_json, write_csv_as_utf_8

NAME = "Føx Łódź → 🦊"
Pipe = Callable[[str], io.BytesIO]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Make standard output a pipe with an encoding, as the command line prepares it, and return its bytes."""
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)

    def make(encoding: str) -> io.BytesIO:
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, encoding)
        escape_what_cannot_be_written(stream)
        monkeypatch.setattr(sys, "stdout", stream)
        return written

    return make


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp850", "cp932", "utf-8"])
def test_json_is_json_in_every_encoding(pipe: Pipe, encoding: str) -> None:
    written = pipe(encoding)
    print_json({"uri": NAME})
    assert json.loads(written.getvalue().decode(encoding)) == {"uri": NAME}


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "utf-8"])
def test_a_table_on_standard_output_keeps_its_letters(pipe: Pipe, encoding: str) -> None:
    written = pipe(encoding)
    write_csv_as_utf_8()
    csv.writer(sys.stdout, lineterminator="\n").writerow([NAME])
    sys.stdout.flush()
    assert written.getvalue().decode().strip() == NAME


def test_the_encoding_that_a_user_sets_is_kept(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe("cp437")
    monkeypatch.setenv("PYTHONIOENCODING", "cp437")
    write_csv_as_utf_8()
    assert sys.stdout.encoding == "cp437"


def test_a_command_prints_names_that_a_console_lacks_as_escapes(bioclip: Bioclip, pipe: Pipe, tmp_path: Path) -> None:
    from bioclip_plugin.cli import run

    written = pipe("cp850")
    assert run(["validate", f"{NAME}.json"]) == 1
    (tmp_path / f"{NAME}.json").write_text("[]")
    run(["validate", f"{NAME}.json", "--format", "megadetector", "--json"])
    assert json.loads(written.getvalue().decode("cp850"))["file"] == f"{NAME}.json"
