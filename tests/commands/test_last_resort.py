"""Errors that no command expected: lines that name the command, the file and the place, and never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from command_samples import Bioclip

from bioclip_core.errors import DataError, one_line
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import CommandGroup, command_line, run
from bioclip_plugin.contracts.manager import BioclipPluginManager

Look = Callable[[Exception, Path], str]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    """Call of a command of our own that reads a file and then fails with an error; returns what it says."""

    def call(error: Exception, path: Path) -> str:
        def with_look(manager: BioclipPluginManager) -> CommandGroup:
            group = command_line(manager)

            @group.command("look")
            @click.argument("file", type=click.Path(path_type=Path))
            def look(file: Path) -> None:
                with file.open("rb") as stream:
                    stream.read()
                    raise error

            return group

        monkeypatch.setattr("bioclip_plugin.cli.command_line", with_look)
        assert run(["look", str(path)], create_plugin_manager(installed=False)) == 1
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return call


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TypeError("unhashable type: 'dict'"), ["TypeError: unhashable type: 'dict'", "please report", "bioclip-plugin 0."]),
        (RecursionError("maximum recursion depth exceeded"), ["RecursionError: maximum", "please report"]),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ["UnicodeDecodeError: 'utf-8' codec"]),
        (KeyError("a"), ["KeyError: 'a'"]),
        (AssertionError(), ["AssertionError"]),
        (ValueError("two\nlines \x1b[31m"), ["ValueError: two"]),
        (MemoryError(), ["ran out of memory", "--batch-size"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["the disk is full: ", "TMPDIR"]),
        (OSError(errno.EIO, "Input/output error"), ["Input/output error"]),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), ["encoding ascii", "PYTHONIOENCODING"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_an_unexpected_error_is_a_few_lines(tmp_path: Path, look: Look, error: Exception, words: list[str]) -> None:
    file = tmp_path / "some file.json"
    file.write_text("{}")
    said = look(error, file)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 2
    for word in words:
        assert word in said
    if not isinstance(error, UnicodeEncodeError):
        assert str(file) in said
    if "please report" in said:
        assert "bioclip-plugin look met an error" in said
        assert "BIOCLIP_DEBUG=1" in said


def test_the_environment_shows_the_traceback_before_the_lines(
    tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_DEBUG", "1")
    (tmp_path / "a").touch()
    said = look(TypeError("no"), tmp_path / "a")
    assert said.index("Traceback (most recent call last)") < said.index("Error: bioclip-plugin look")


def test_the_place_is_our_own_line_and_the_one_that_raised(
    bioclip: Bioclip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        return os.fspath(3)  # type: ignore[call-overload]

    file = tmp_path / "some.json"
    file.write_text('{"images": []}')
    monkeypatch.setattr("bioclip_plugin.formats.camtrap_dp.package.archive_kind", broken)
    said = bioclip("validate", file)
    assert said.code == 1
    assert "bioclip-plugin validate met an error that it does not expect, with the file" in said.err
    assert "some.json at hand: TypeError: expected str" in said.err
    assert "(bioclip_plugin." in said.err


def test_a_message_is_one_line_whatever_names_it_repeats() -> None:
    assert one_line(str(DataError("a\n b \x1b[2J\x07 é"))) == "a b [2J é"
    assert len(one_line("x" * 10**6)) < 3_000


def process(shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", shell.replace("bioclip-plugin", f"{sys.executable} -m bioclip_plugin")],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    done = process("bioclip-plugin --help > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("Error: the disk is full")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "| head -1", "2>&1 | head -c 1", "2> /dev/full"])
def test_closed_and_broken_outputs_are_quiet(redirect: str) -> None:
    for command in ("--help", "validate missing.json"):
        done = process(f"bioclip-plugin {command} {redirect}")
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])


@pytest.mark.usefixtures("nowhere")
def test_a_machine_without_temporary_files_is_one_line(bioclip: Bioclip, photos: Path) -> None:
    said = bioclip("classify", photos, "--model", "fake", "--labels", "words.txt")
    assert said.code == 1
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 3
