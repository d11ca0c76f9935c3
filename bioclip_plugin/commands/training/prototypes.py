"""``bioclip-plugin prototypes``: a label set of example images, alone or joined to text labels, in seconds."""

from __future__ import annotations

from typing import Any

import click

from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.reporting import console_for
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.training.example_options import example_options


@click.group()
def prototypes() -> None:
    """Make label sets of example images: what to try before training.

    \b
    bioclip-plugin prototypes build --data birds.parquet --model bioclip-2 --output my_birds
    bioclip-plugin classify photos/ --model bioclip-2 --labels my_birds
    """


@prototypes.command("build")
@example_options
@click.option(
    "--join",
    metavar="LABELS",
    help="Label set of text to join the prototypes to: its folder, own (the label set of the model), "
    "or text (the names of all taxa of the catalog).",
)
@click.pass_context
def build(ctx: click.Context, /, join: str | None, **options: Any) -> int:
    """Build a label set whose labels are the mean features of example images, one label per taxon.

    Nothing is trained: the images are encoded once. Alone, the label set answers with the taxa of the examples and nothing
    else. With --join it is added to a label set of text, and scale and bias are fitted so that old and new names compare.
    The accuracy on held-out images (the parts dev and val, if the catalog has them) is printed beside that of text labels.
    An image that cannot be read is reported and skipped; the exit code is then 3.

    \b
    bioclip-plugin prototypes build --data leaves.parquet --model demo --output leaves_prototypes
    bioclip-plugin prototypes build --data leaves.parquet --model bioclip-2 --join own --output joined
    """
    from bioclip_plugin.commands.training.prototype_sets import Request, build_set

    console, models = console_for(), plugins_of(ctx).models()
    with interruptible(console, "Nothing was kept; the same command starts again."):
        failed = build_set(console, models, Request(**options), join)
    return EXIT_WITH_FAILURES if failed else EXIT_DONE
