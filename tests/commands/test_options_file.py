"""``bioclip.toml``: the same names as on the command line, checked before a command starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from command_samples import Bioclip, Outcome

from bioclip_plugin import hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager


@pytest.fixture
def configured(bioclip: Bioclip) -> Callable[..., Outcome]:
    def call(text: str, *arguments: str) -> Outcome:
        Path("bioclip.toml").write_text(text)
        return bioclip(*arguments)

    return call


Configured = Callable[..., Outcome]
CLASSIFY = ("classify", "photos")


def settings(bioclip: Bioclip, store: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(bioclip("runs", "show", "--store", store, "--json").out)
    return dict(shown["settings"])


def test_a_key_applies_to_all_commands_with_that_option(
    configured: Configured, bioclip: Bioclip, photos: Path, labels: str
) -> None:
    said = configured('model = "fake"\nlabels = "labels"\nstore = "mine.db"', *CLASSIFY)
    assert said.code == 3
    assert "fake" in bioclip("runs", "list").out  # the same store; this command has neither model nor labels
    assert bioclip("export", "--output", "r.csv").code == 0


def test_a_commands_own_table_wins_and_the_command_line_wins_over_both(
    configured: Configured, bioclip: Bioclip, photos: Path, labels: str
) -> None:
    text = 'model = "fake"\nlabels = "labels"\ntop = 4\n[classify]\ntop = 2\nthreshold = 0.5\ntaxa = ["Coldidae"]'
    configured(text, *CLASSIFY, "--store", "a.db")
    assert [settings(bioclip, "a.db")[name] for name in ("top", "threshold", "taxa")] == [2, 0.5, ["Coldidae"]]
    configured(text, *CLASSIFY, "--store", "b.db", "--top", "1")
    assert settings(bioclip, "b.db")["top"] == 1


def test_a_switch_is_true_or_false_under_its_own_name(configured: Configured, classified: str) -> None:
    said = configured(f'store = "{classified}"\n[runs.verify]\njson = true', "runs", "verify")
    assert json.loads(said.out)["complete"] is True


def test_a_group_has_a_table_and_each_of_its_commands_one_within(configured: Configured, taxa: Path) -> None:
    text = '[labels]\nmodel = "fake"\n[labels.build]\ncaption = "scientific"\noutput = "mine"'
    assert configured(text, "labels", "build", str(taxa)).code == 0
    assert json.loads(Path("mine/label_set.json").read_text())["captions"] == "scientific"


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ('modell = "fake"', CLASSIFY, ["unknown modell", "allowed are", "model,"]),
        ("[classify]\nthreshhold = 0.5", CLASSIFY, ["[classify]", "unknown threshhold", "threshold"]),
        ('[classify]\npaths = ["x"]', CLASSIFY, ["unknown paths"]),
        ("[runs.list]\nforce = true", ("runs", "list"), ["[runs.list]", "unknown force", "json, store"]),
        ("[runs.lst]\njson = true", ("runs", "list"), ["[runs]", "unknown lst", "list", "show", "verify"]),
        ("[clasify]\ntop = 2", CLASSIFY, ["no command is called [clasify]", "classify"]),
        ('[classify]\ntop = "many"', CLASSIFY, ["[classify]: top is 'many'", "a whole number"]),
        ("[classify]\ntop = 2.5", CLASSIFY, ["top is 2.5", "a whole number"]),
        ("[classify]\ntop = true", CLASSIFY, ["top is True", "a whole number"]),
        (f"[classify]\ntop = {'9' * 4000}", CLASSIFY, ["[classify]: top", "999"]),
        ("[classify]\ntop = 5000", CLASSIFY, ["[classify]: top", "5000"]),
        ('[classify]\nthreshold = "high"', CLASSIFY, ["threshold is 'high'", "a number"]),
        ("model = 5", CLASSIFY, ["model is 5", "a text"]),
        ('[classify]\nexact = "yes"', CLASSIFY, ["exact is 'yes'", "true or false"]),
        ('[classify]\ntaxa = "Acer"', CLASSIFY, ["taxa is 'Acer'", "a list of texts"]),
        ('precision = "fp8"', CLASSIFY, ["precision", "fp8", "bf16"]),
        (f"a{'.a' * 500} = 1", CLASSIFY, ["a key of more than 64 parts"]),
        (f"""[{'"a b".' * 500}"c"]""", CLASSIFY, ["a key of more than 64 parts"]),
        (f"a = {'{a = ' * 80}1{'}' * 80}", CLASSIFY, ["more than 64 deep"]),
        (f"a = {'[' * 5000}", CLASSIFY, ["nested too deeply"]),
        (f"a = {'1' * 5000}", CLASSIFY, ["is not TOML: Exceeds the limit"]),
        (f"a = '{'x' * 2**20}'", CLASSIFY, ["more than 1,048,576 bytes"]),
        ("model = ", CLASSIFY, ["bioclip.toml is not TOML: Invalid value"]),
    ],
)
def test_unusable_input_is_refused_as_misuse(
    configured: Configured, photos: Path, text: str, arguments: tuple[str, ...], words: list[str]
) -> None:
    refused = configured(text, *arguments)
    assert refused.code == 2
    assert refused.err.startswith("Error: bioclip.toml")
    assert len(refused.err.splitlines()) == 1
    assert [word for word in words if word not in refused.err] == []


def test_another_file_is_named_by_option_or_environment(
    bioclip: Bioclip, classified: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.toml").write_text(f'store = "{classified}"')
    assert bioclip("--config", "mine.toml", "runs", "verify").code == 0
    monkeypatch.setenv("BIOCLIP_CONFIG", "mine.toml")
    assert bioclip("runs", "verify").code == 0
    refused = bioclip("--config", "nowhere.toml", "runs", "verify")
    assert (refused.code, "nowhere.toml" in refused.err) == (2, True)


@pytest.mark.parametrize("kind", ["missing", "a folder", "a link to nothing"])
def test_a_file_that_the_environment_names_and_that_cannot_be_read_is_refused(
    bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("BIOCLIP_CONFIG", "mine.toml")
    if kind == "a folder":
        Path("mine.toml").mkdir()
    elif kind == "a link to nothing":
        Path("mine.toml").symlink_to("gone.toml")
    refused = bioclip("rules", "list")
    assert refused.code == 2
    assert refused.err.startswith("Error: mine.toml cannot be read")
    assert refused.err.endswith("the variable BIOCLIP_CONFIG names it\n")
    monkeypatch.setenv("BIOCLIP_CONFIG", "")
    assert bioclip("rules", "list").code == 0


def test_a_folder_or_a_broken_link_of_the_usual_name_is_refused(bioclip: Bioclip) -> None:
    Path("bioclip.toml").symlink_to("gone.toml")
    assert (bioclip("rules", "list").code, bioclip("rules", "list").err.count("\n")) == (2, 1)


class Greeting:
    """Plugin with its own command."""

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        @cli.command("greet")
        @click.option("--whom", default="nobody")
        def greet(whom: str) -> None:
            click.echo(f"hello {whom}")


def test_a_plugins_command_takes_its_options_from_the_file_too(
    configured: Configured, manager: BioclipPluginManager
) -> None:
    manager.register(Greeting(), name="greeting")
    assert configured('[greet]\nwhom = "lynx"', "greet").out == "hello lynx\n"
    assert configured("[greet]\nwho = 3", "greet").code == 2
