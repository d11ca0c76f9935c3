"""``bioclip-plugin probe``: a logistic regression on the features of example images, as a label set."""

from __future__ import annotations

from typing import Any

import click

from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.reporting import console_for
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.training.example_options import example_options


@click.group()
def probe() -> None:
    """Fit a logistic regression on features, as a label set: the model stays as it is.

    \b
    bioclip-plugin probe build --data birds.parquet --model bioclip-2 --output my_probe
    bioclip-plugin classify photos/ --model bioclip-2 --labels my_probe
    """


@probe.command("build")
@example_options
@click.pass_context
def build(ctx: click.Context, /, **options: Any) -> int:
    """Fit a logistic regression of the taxa of example images on the model's features, and write it as a label set.

    The images are encoded once; the strength of the penalty is chosen by cross-validation over groups. The label set answers
    with the taxa of the examples and nothing else. The accuracy on held-out images (the parts dev and val, if the catalog has
    them) is printed beside that of prototypes and text labels. An image that cannot be read is reported and skipped; the exit
    code is then 3.

    \b
    bioclip-plugin probe build --data leaves.parquet --model demo --output leaves_probe
    """
    from bioclip_plugin.commands.training.prototype_sets import Request, build_probe_set

    console, models = console_for(), plugins_of(ctx).models()
    with interruptible(console, "Nothing was kept; the same command starts again."):
        failed = build_probe_set(console, models, Request(**options))
    return EXIT_WITH_FAILURES if failed else EXIT_DONE
