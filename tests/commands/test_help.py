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
