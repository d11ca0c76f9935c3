"""The built-in commands: one file each."""

from __future__ import annotations

from typing import Any

# name, place of the click command, line in --help
_COMMANDS = (
    ("classify", "classify:classify", "Name what is in images and keep the answers."),
    ("embed", "embed:embed", "Write images' features to a Parquet file."),
    ("export", "export:export", "Write a run's results to a file."),
    ("validate", "validate:validate", "Check a file or package in another program's format."),
    ("report", "report:report", "Look at a run's results: one HTML file with a gallery."),
    ("rules", "rules:rules", "List rules, and apply them to stored answers."),
    ("review", "reviewing.review:review", "Import, list and compare what people said."),
    ("second-opinion", "reviewing.second_opinion:second_opinion", "Compare catalogued names with a run's answers."),
    ("runs", "runs:runs", "List, show and verify runs."),
    ("labels", "labels:labels", "Build, import, search and check label sets."),
    ("shards", "training.shards:shards", "Write and check shards of labelled images."),
    ("train", "training.train:train", "Train a model on labelled images."),
    ("catalog", "training.catalog:catalog", "Build and show catalogs of labelled images, for training."),
    ("taxonomy", "training.taxonomy:taxonomy", "Index a checklist and resolve names against it, offline."),
    ("prototypes", "training.prototypes:prototypes", "Make label sets of example images: what to try before training."),
    ("evaluate", "training.evaluate:evaluate", "Measure a model on held-out images, with a report."),
    ("calibrate", "training.calibrate:calibrate", "Fit how sure a model may be, on the dev part of a catalog."),
    ("models", "models:models", "List, describe and fetch models."),
    ("store", "store:store", "Look after a result store."),
    ("plugins", "plugins:plugins", "Show what is plugged in."),
    ("demo", "demo:demo", "See the whole job on an invented camera trap, without network."),
)


def add_built_in_commands(cli: Any) -> None:
    """Add every built-in command by name; its module is imported when it is called.

    Args:
        cli: the :class:`bioclip_plugin.cli.CommandGroup` that ``register_commands`` was given.
    """
    for name, place, short_help in _COMMANDS:
        cli.add_lazy(name, f"bioclip_plugin.commands.{place}", short_help)
