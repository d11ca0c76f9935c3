"""Options of the commands that make label sets of example images: ``prototypes build`` and ``probe build``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bioclip_core.tables.options import PathOptions
from bioclip_plugin.commands.options import compute_options, force_option, model_option, options_from, output_option
from bioclip_training.catalog.options import DEV_FRACTION

F = TypeVar("F", bound=Callable[..., Any])

_DECORATORS = (
    click.option(
        "--data",
        required=True,
        type=click.Path(path_type=Path),
        metavar="CATALOG|SHARDS",
        help="Catalog of labelled images, made by `catalog build`, or folder of shards.",
    ),
    model_option,
    output_option("Folder of the label set."),
    click.option(
        "--split", default="train", show_default=True, help="Part of the catalog with the examples; all: every image."
    ),
    click.option(
        "--dev-fraction",
        type=click.FloatRange(0, 0.9),
        default=DEV_FRACTION,
        show_default=True,
        help="Share of the groups of train that is not used as an example, as in train: accuracy is measured on it (dev).",
    ),
    click.option(
        "--most-examples",
        type=click.IntRange(2),
        help="Largest number of examples; of more, each taxon gives one in turn, the same ones every time.",
    ),
    compute_options,
    options_from(PathOptions),
    force_option,
)


def example_options(function: F) -> F:
    """Add the options to a command."""
    for decorator in reversed(_DECORATORS):
        function = decorator(function)
    return function
