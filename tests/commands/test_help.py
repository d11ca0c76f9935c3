"""Help of every command, with an example."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import pytest
from command_samples import Bioclip, all_commands

from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager


@pytest.mark.parametrize("command", [name for name, _ in all_commands()])
def test_help_shows_a_command_that_can_be_given(bioclip: Bioclip, command: str) -> None:
    said = bioclip(*command.split(), "--help")
    examples = [line.strip() for line in said.out.splitlines() if line.strip().startswith("bioclip-plugin ")]
    assert said.code == 0
    assert examples
    given = shlex.split(examples[0])[1:]
    assert " ".join(given).startswith(command)
    resolve(given)


def test_no_help_page_imports_a_library_that_only_work_needs() -> None:
    pages = ["", *(name for name, _ in all_commands())]
    program = f"""
import sys
from bioclip_plugin.cli import run

codes = {{page: run([*page.split(), "--help"]) for page in {pages!r}}}
assert not any(codes.values()), codes
heavy = {{"torch", "open_clip", "numpy", "pandas", "pyarrow", "sqlalchemy", "PIL"}} & sys.modules.keys()
sys.exit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_default_of_zero_is_shown_and_what_happens_without_a_number_is_said(bioclip: Bioclip) -> None:
    said = " ".join(bioclip("train", "--help").out.split())
    for shown in ("block. [default: 0.0;", "per run. [default: 0;", "Random seed. [default: 0;", "(as many as --epochs takes)",
                  "[default: (taxonomic=0.5,"):  # fmt: skip
        assert shown in said
    assert "of the draws. [default: 0; x>=0]" in " ".join(bioclip("evaluate", "--help").out.split())


def test_no_option_with_a_number_hides_its_default() -> None:
    hidden = [
        (name, param.name)
        for name, command in all_commands()
        for param in command.params
        if isinstance(param, click.Option)
        and isinstance(param.default, (int, float))
        and not isinstance(param.default, bool)
        and not param.show_default
    ]
    assert not hidden


def test_arguments_that_may_be_left_out_and_days_are_shown_as_such(bioclip: Bioclip) -> None:
    assert "classify [OPTIONS] [PATHS]..." in bioclip("classify", "--help").out
    assert "--since DATE" in bioclip("report", "--help").out
    for name, command in all_commands():
        for param in command.params:
            if isinstance(param, click.Argument) and not param.required:
                metavar = param.metavar or ""
                assert not metavar or metavar.startswith("["), name


def test_commands_in_the_help_are_not_broken_at_their_hyphens(bioclip: Bioclip) -> None:
    assert "Start with: bioclip-plugin demo" in bioclip("--help").out
    assert "torchrun --nproc-per-node 2 -m -- bioclip_plugin train ..." in bioclip("train", "--help").out


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "classify", "embed"])
def test_the_variable_that_decides_about_the_precision_is_named(bioclip: Bioclip, command: str) -> None:
    assert "auto is BIOCLIP_PRECISION" in " ".join(bioclip(command, "--help").out.split())


def test_labels_are_built_with_a_text_tower(bioclip: Bioclip) -> None:
    assert "image tower" not in " ".join(bioclip("labels", "build", "--help").out.split())


def resolve(given: list[str]) -> None:
    """Parse an example with click, without running it."""
    cli = command_line(create_plugin_manager(installed=False))
    command: click.Command = cli
    with click.Context(cli) as ctx:
        while isinstance(command, click.Group):
            found = command.get_command(ctx, given.pop(0))
            assert found is not None
            command = found
        command.make_context(command.name, given, parent=ctx)
