"""Numbers and names that a slip of the keyboard gives: one line, never an unexpected error."""

from __future__ import annotations

import json

import click
import pytest
from command_samples import Bioclip

from bioclip_plugin import hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager

HUGE = "9" * 20


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("runs", "show", HUGE), 2, HUGE),
        (("runs", "delete", HUGE, "--yes"), 2, HUGE),
        (("export", "--run", HUGE, "--format", "csv", "--output", "e.csv"), 2, HUGE),
        (("runs", "prune", "--keep-days", "nan", "--yes"), 2, "not a number of days"),
        (("runs", "prune", "--keep-days", "1e9", "--yes"), 2, "36500"),
        (("classify", ".", "--model", "fake", "--batch-size", "9" * 30), 2, "batch_size"),
        (("classify", ".", "--model", "hf-hub:../.."), 1, "give it as hf-hub:ORG/NAME"),
        (("models", "fetch", "hf-hub:"), 1, "give it as hf-hub:ORG/NAME"),
    ],
)
def test_it_is_refused_in_one_line(
    bioclip: Bioclip, classified: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    store = () if arguments[0] == "models" else ("--store", classified)
    ended = bioclip(*arguments, *store)
    assert ended.code == code
    assert said in ended.err
    assert "does not expect" not in ended.err
    assert "Traceback" not in ended.err


def test_what_a_plugin_prints_while_it_is_registered_is_not_on_standard_output(
    bioclip: Bioclip, manager: BioclipPluginManager, classified: str
) -> None:
    class Loud:
        @hookimpl
        def register_commands(self, cli: click.Group) -> None:
            print("NOISE")

    manager.register(Loud())
    said = bioclip("runs", "list", "--store", classified, "--json")
    assert json.loads(said.out)["run"] == 1
    assert "NOISE" in said.err
