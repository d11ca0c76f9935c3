"""Options of commands and keys of ``bioclip.toml`` against the dataclasses that they fill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
import pytest
from command_samples import all_commands, built_in_commands

from bioclip_core.errors import UsageError
from bioclip_core.tables.options import PathOptions, TableOptions
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.engines.options import EngineOptions
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.probing.options import PlanOptions
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.reviews.importing import ImportOptions
from bioclip_plugin.running.web_options import WebOptions
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.evaluation.config import CalibrateConfig, EvaluationConfig
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.shards.options import ShardOptions
from bioclip_training.suites.config import SuiteConfig

FILLED: dict[str, tuple[type, ...]] = {
    "classify": (ClassifyRequest, ListingOptions, DeploymentOptions, WebOptions, EngineOptions, PlanOptions),
    "embed": (ClassifyRequest, ListingOptions, WebOptions),
    "export": (Selection, ExportOptions, PathOptions),
    "report": (Selection, ReportOptions, DeploymentOptions),
    "review import": (ImportOptions,),
    "models export": (ClassifyRequest,),
    "models info": (ClassifyRequest,),
    "rules apply": (ClassifyRequest, DeploymentOptions),
    "labels build": (ClassifyRequest, TableOptions),
    "labels import": (ClassifyRequest,),
    "prototypes build": (ClassifyRequest, PathOptions),
    "probe build": (ClassifyRequest, PathOptions),
    "catalog build": (BuildOptions, TableOptions),
    "shards write": (ShardOptions, PathOptions),
    "evaluate": (SuiteConfig, EvaluationConfig),
    "analyze": (AnalysisConfig,),
    "calibrate": (CalibrateConfig,),
    "train": (TrainConfig,),
}
NOT_AN_OPTION = {
    "classify": {"temporary", "findings", "lists_addresses"},
    "embed": {
        "labels",
        "taxa",
        "rank",
        "top",
        "threshold",
        "rules",
        "store",
        "temporary",
        "findings",
        "lists_addresses",
    },
    "report": {"selection", "findings", "day_first", "month_first"},
    "review import": {"findings"},
    "catalog build": {"holdout_share", "holdout_names"},  # both from --holdout-taxa
    "shards write": {"shard_bytes"},  # from --size-mb
    "evaluate": {"groups"},
    "train": {"betas", "eps", "tell", "should_stop"},
}
PARTLY = {
    "models export",
    "models info",
    "rules apply",
    "labels build",
    "labels import",
    "prototypes build",
    "probe build",
}
"""Commands that take only a few fields of a request."""
OTHER_DEFAULTS = {
    ("classify", "store"): "bioclip.db",
    ("rules apply", "store"): "bioclip.db",
    ("labels build", "precision"): "fp32",
    ("evaluate", "data"): None,  # --suite is given instead
    ("evaluate", "model"): "bioclip-2",
    ("analyze", "model"): "bioclip-2",
    ("calibrate", "model"): "bioclip-2",
    ("calibrate", "labels"): None,
    ("shards write", "samples_per_shard"): None,  # 1000, unless --size-mb is given
}
OWN = {"store", "run", "output", "force", "as_json"}
"""Options of several commands that do not fill a dataclass."""
OWN_OF_COMMAND = {
    "classify": {"rehash"},
    "export": {"format_name"},
    "models export": {"format_", "name"},
    "review import": {"labels", "taxonomy", "rejected", "name_map"},
    "labels build": {"caption", "plain_labels", "split_names", "name_map"},
    "prototypes build": {"data", "split", "dev_fraction", "most_examples", "join"},
    "probe build": {"data", "split", "dev_fraction", "most_examples"},
    "catalog build": {"taxonomy", "layout", "layout_option", "holdout_taxa", "plain_labels", "split_names", "name_map"},
    "shards write": {"size_mb"},
    "train": {"plan"},
}
NEEDED: dict[type, dict[str, str]] = {
    TrainConfig: {"data": "d", "start": "s", "output": "o"},
    EvaluationConfig: {"data": "d", "model": "m", "output": "o"},
    AnalysisConfig: {"data": "d", "model": "m", "output": "o"},
    CalibrateConfig: {"data": "d", "model": "m", "labels": "l"},
    SuiteConfig: {"suites": ("newt",), "root": "r", "model": "m", "output": "o"},
}
TOGETHER: dict[str, dict[str, Any]] = {"accumulate": {"batch_size": 10**6}}


def options_with_fields() -> Iterator[Any]:
    commands = dict(built_in_commands())
    for name, kinds in FILLED.items():
        declared = {entry.name: (kind, entry) for kind in kinds for entry in fields(kind)}
        for option in commands[name].params:
            if (
                option.name in declared
                and option.name not in ("captions", "suites")
                and isinstance(option, click.Option)
            ):
                yield pytest.param(name, option, *declared[option.name], id=f"{name} --{option.name}")


@pytest.mark.parametrize(("command", "option", "kind", "entry"), list(options_with_fields()))
def test_an_option_has_the_default_type_and_allowed_values_of_its_field(
    command: str, option: click.Option, kind: type, entry: Field[Any]
) -> None:
    default = OTHER_DEFAULTS.get((command, entry.name), entry.default)
    assert option.required == (default is MISSING)
    if not option.required:
        given = option.get_default(click.Context(click.Command(command)))
        assert (() if option.multiple and given is None else given) == default
    assert option.multiple == entry.type.startswith("tuple")  # type: ignore[union-attr]
    check_type(option, str(entry.type))
    check_allowed(option, kind, entry.name)


def check_type(option: click.Option, written: str) -> None:
    samples = {"bool": True, "int": 3, "float": 0.5, "Path": Path("x"), "date": None, "str": "x"}
    word = next(word for word in (*samples, "Method") if word in written or word == "Method")
    if isinstance(option.type, click.Choice):
        assert word in ("str", "Method")
    elif word == "date":
        assert option.type.convert("2024-05-31", None, None).isoformat() == "2024-05-31"
    elif word == "int":
        assert isinstance(option.type, type(click.INT))
    else:
        assert type(option.type.convert(str(samples[word]), None, None)) is type(samples[word]) or word == "Path"


def check_allowed(option: click.Option, kind: type, name: str) -> None:
    """Check that dataclass and command line accept and refuse the same values."""

    def make(value: Any) -> Any:
        return kind(**{**NEEDED.get(kind, {}), **TOGETHER.get(name, {}), name: value})

    if isinstance(option.type, click.Choice):
        for word in option.type.choices:
            assert getattr(make(word), name) == word
        with pytest.raises(UsageError, match=name):
            make("no such word")
    if isinstance(option.type, (click.IntRange, click.FloatRange)):
        for limit, beyond in ((option.type.min, -1), (option.type.max, 1)):
            if limit is not None:
                with pytest.raises(UsageError, match=name):
                    make(limit + beyond)
                if not option.type.min_open or beyond == 1:
                    assert getattr(make(limit), name) == limit
                else:
                    with pytest.raises(UsageError, match=name):
                        make(limit)


@pytest.mark.parametrize("command", FILLED)
def test_every_field_has_an_option_and_every_option_a_field(command: str) -> None:
    names = {option.name for option in dict(built_in_commands())[command].params if isinstance(option, click.Option)}
    declared = {entry.name for kind in FILLED[command] for entry in fields(kind)}
    if command not in PARTLY:
        assert declared - names == NOT_AN_OPTION.get(command, set())
    assert names - declared - OWN == OWN_OF_COMMAND.get(command, set())


def test_training_with_replay_projects_as_the_recipe_says() -> None:
    (option,) = [option for option in dict(built_in_commands())["train"].params if option.name == "replay_projection"]
    assert option.default == TrainConfig(data="d", start="s", output="o").replay_projection == "shared"


def test_every_option_has_a_help_that_begins_like_a_sentence_and_ends_it() -> None:
    options = [
        (name, option) for name, command in all_commands() for option in command.params if isinstance(option, click.Option)
    ]  # fmt: skip
    for name, option in options:
        text = (option.help or "").split("  [default:")[0]
        assert text[:1].isupper(), (name, option.name)
        assert text.endswith("."), (name, option.name)
