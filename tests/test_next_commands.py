"""House rules of advised commands: one module writes them, each names a command and options that exist, and none lacks what is required."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_core.next_commands import command, free_name, next_lines, quoted, quoted_on_windows
from bioclip_core.process import system
from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager

ROOT = Path(__file__).parent.parent
PACKAGES = ("core/bioclip_core", "training/bioclip_training", "bioclip_plugin")
HELPER = ROOT / "core" / "bioclip_core" / "next_commands.py"
_COMMANDS = "|".join(command_line(create_plugin_manager(installed=False)).list_commands(click.Context(click.Group())))
_ADVISES = re.compile(rf"bioclip-plugin (?:{_COMMANDS})\b(?![a-z ]*`)|\bNext:|\bthen: [a-z]+ --")
"""A command outside of a docstring, unless it is only named, in backticks."""
_NOT_ADVICE = ("written by bioclip-plugin models export", "by ``bioclip-plugin models export``")
"""Texts of a file that says who wrote it."""


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text("utf-8")
            if file != HELPER and (_ADVISES.search(text) or "command(" in text):
                yield file, ast.parse(text)


def spoken_texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the texts of a module that are not docstrings, help texts or epilogs: those may show examples."""
    quiet = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            quiet |= {id(part.value) for part in body if isinstance(part, ast.Expr)}
        if isinstance(node, ast.keyword) and node.arg in ("epilog", "help"):
            quiet |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield node


def advised() -> Iterator[tuple[str, ast.Call]]:
    """Yield each place that writes a command, and the call that does so."""
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command":
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def test_no_command_is_written_by_hand() -> None:
    by_hand = [
        f"{file.relative_to(ROOT)}:{text.lineno}: {text.value!r}"
        for file, tree in sources()
        for text in spoken_texts(tree)
        if _ADVISES.search(text.value) and not any(words in text.value for words in _NOT_ADVICE)
    ]
    assert by_hand == [], "use bioclip_core.next_commands"


@pytest.mark.parametrize(("place", "call"), list(advised()), ids=lambda value: value if isinstance(value, str) else "")
def test_an_advised_command_has_a_name_options_and_arguments_that_exist(place: str, call: ast.Call) -> None:
    path = call.args[0]
    assert isinstance(path, ast.Constant), f"{place}: the name of the command is written out"
    found: click.Command = command_line(create_plugin_manager(installed=False))
    for word in str(path.value).split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)  # type: ignore[assignment]
        assert found is not None, f"{place}: there is no command {path.value!r}"
    assert not isinstance(found, click.Group), f"{place}: {path.value!r} is a group of commands"
    options = {
        flag: param for param in found.params if isinstance(param, click.Option) for flag in (*param.opts, *param.secondary_opts)
    }  # fmt: skip
    given = {f"--{entry.arg.replace('_', '-')}" for entry in call.keywords if entry.arg}
    assert given <= set(options), f"{place}: {given - set(options)}"
    required = {param.opts[-1] for param in options.values() if param.required}
    has_others = any(entry.arg is None for entry in call.keywords)  # **options, which only a walk can check
    assert has_others or required <= given, f"{place}: {required - given} must be given"
    arguments = [param for param in found.params if isinstance(param, click.Argument)]
    needed = sum(argument.required for argument in arguments)
    assert len(call.args) - 1 >= needed, f"{place}: {needed} arguments are needed"
    if all(argument.nargs == 1 for argument in arguments):
        assert len(call.args) - 1 <= len(arguments), place


def test_there_are_as_many_advised_commands_as_a_reader_would_expect() -> None:
    assert len(list(advised())) > 30  # the rules above have something to look at


_NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)


@given(st.lists(_NAMES, min_size=1, max_size=3))
def test_a_command_is_taken_apart_into_its_own_words_whatever_their_characters(names: list[str]) -> None:
    text = command("classify", *names, store=names)
    assert len(text.splitlines()) == 1
    if all(name.isprintable() for name in names):
        words = shlex.split(text)[2:]
        assert [
            word.removeprefix("./") if name.startswith("-") else word for name, word in zip(names, words, strict=False)
        ] == names


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_a_shell_reads_names_with_line_breaks_and_bytes_of_another_encoding() -> None:
    names = ["my photos", "it's", "a\nb\tc", "Müller", "back\\slash\n'", os.fsdecode(b"caf\xe9\n"), "\u2028x"]
    line = " ".join(map(quoted, names))
    assert len(line.splitlines()) == 1
    script = "import os,sys; print([os.fsencode(name) for name in sys.argv[1:]])"
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} {line}"], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.strip() == str([os.fsencode(name) for name in names])


def test_on_windows_words_are_quoted_as_its_programs_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_windows", lambda: True)
    assert command("catalog show", r"D:\my photos\c.parquet") == r'bioclip-plugin catalog show "D:\my photos\c.parquet"'
    assert command("classify", "R&D", "a;b,c", "x^y%z", "it's", "(1)", "Łódź", store=r"D:\a b" + "\\") == (
        r'''bioclip-plugin classify "R&D" "a;b,c" "x^y%z" "it's" "(1)" Łódź --store "D:\a b\\"'''
    )


@given(st.lists(st.text(st.sampled_from('a b&"\\%^,'), max_size=6), min_size=1, max_size=4))
def test_programs_of_windows_take_a_line_apart_into_its_words(words: list[str]) -> None:
    assert taken_apart(" ".join(map(quoted_on_windows, words))) == words


def taken_apart(line: str) -> list[str]:
    """Return the words of a line as the C library of Windows documents it."""
    words, word, inside, begun, at = [], "", False, False, 0
    while at < len(line):
        slashes = len(line) - at - len(line[at:].lstrip("\\"))
        at += slashes
        if slashes and line[at : at + 1] == '"':
            word, begun = word + "\\" * (slashes // 2), True
            if slashes % 2:
                word, at = word + '"', at + 1
            continue
        if slashes:
            word, begun = word + "\\" * slashes, True
            continue
        if line[at] == '"':
            inside, begun = not inside, True
        elif line[at] == " " and not inside:
            words, word, begun = [*words, word] if begun else words, "", False
        else:
            word, begun = word + line[at], True
        at += 1
    return [*words, word] if begun else words


def test_values_that_look_like_options_stay_values() -> None:
    assert shlex.split(command("catalog show", "-odd.parquet"))[3] == "./-odd.parquet"
    assert command("classify", "-", store="-x") == "bioclip-plugin classify - --store=-x"


def test_the_next_commands_stand_alone_on_their_lines() -> None:
    assert next_lines("a", then=["b"], either=["c"]) == ["Next: a", "then: b", "or:   c"]


def test_an_output_that_exists_is_not_proposed(tmp_path: Path) -> None:
    assert free_name(tmp_path / "results.csv") == str(tmp_path / "results.csv")
    (tmp_path / "results.csv").touch()
    (tmp_path / "results-2.csv").touch()
    assert free_name(tmp_path / "results.csv") == str(tmp_path / "results-3.csv")
