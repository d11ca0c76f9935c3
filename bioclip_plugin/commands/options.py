"""Options that several commands share; each has one name everywhere: here, in ``bioclip.toml`` and in a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bioclip_plugin.items.request import DEFAULT_MODEL

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Selection
    from bioclip_plugin.contracts.source import ListingOptions

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_STORE = "bioclip.db"


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="A name that `models list` shows, hf-hub:ORG/NAME, local-dir:FOLDER, or a weight file.",
)

rule_option = click.option(
    "--rule",
    "rules",
    multiple=True,
    help="A rule for stored answers, NAME or NAME:KEY=VALUE,...; `rules list` shows them. May be given again.",
)

store_option = click.option(
    "--store",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where results are kept: a path (SQLite) or a SQLAlchemy address such as postgresql+psycopg://USER@HOST/DATABASE.",
)

run_option = click.option(
    "--run", type=click.IntRange(min=1), help="Number of the run, as `runs list` shows it.  [default: the latest]"
)


def _proper_zone(_ctx: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Refuse a time zone that nobody knows before anything is read."""
    from bioclip_plugin.items.time_zones import zone_of

    if given is not None:
        zone_of(given)
    return given


def time_zone_option(what: str) -> Callable[[F], F]:
    """``--time-zone``, with what it is of."""
    return click.option("--time-zone", callback=_proper_zone, help=what)


_PROPER_DAY = click.DateTime(["%Y-%m-%d"])

selection_options = _together(
    click.option("--since", type=_PROPER_DAY, help="Only images captured on this day (2024-05-31) or later."),
    click.option(
        "--taxon",
        "taxa",
        multiple=True,
        help="Only regions named as this taxon, of any rank, or below it. May be given again.",
    ),
    click.option(
        "--min-probability", type=click.FloatRange(0, 1), help="Only regions whose name has at least this probability."
    ),
)
"""What :func:`selection_of` makes a selection of."""

listing_options = _together(
    click.option(
        "--base-folder", type=click.Path(path_type=Path),
        help="Where the relative paths in a table or in another program's file begin.  [default: in the file's folder]",
    ),
    click.option(
        "--detection-threshold", type=click.FloatRange(0, 1), default=0.2, show_default=True,
        help="Confidence from which a detector's box is classified; boxes below are kept, not named.",
    ),
    click.option(
        "--allow-outside", is_flag=True, help="Follow paths in somebody's file that lead out of the base folder."
    ),
    click.option(
        "--frames-per-second", type=float, default=1.0, show_default=True, help="Frames of a video that are taken."
    ),
    time_zone_option("Of times without an offset, of the camera too: Europe/Brussels, or +02:00."),
)  # fmt: skip
"""What :func:`listing_of` makes :class:`~bioclip_plugin.sources.ListingOptions` of."""


def listing_of(options: dict[str, Any]) -> ListingOptions:
    """Take the options of ``listing_options`` out of a command's."""
    from bioclip_plugin.contracts.source import ListingOptions

    return ListingOptions(**{field: options.pop(field) for field in ListingOptions.__slots__})


def selection_of(options: dict[str, Any]) -> Selection:
    """Take the options of ``selection_options`` out of a command's."""
    from bioclip_plugin.contracts.export import Selection

    since = options.pop("since")
    return Selection(since.date() if since else None, options.pop("taxa"), options.pop("min_probability"))


force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on standard output, and nothing else there."
)

device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")

compute_options = _together(
    click.option(
        "--batch-size", type=click.IntRange(min=1), help="Regions encoded at once.  [default: 16, on a GPU 128]"
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Decoding threads.  [default: one a core, at most 16]"),
    device_option,
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="auto is bf16 where the device multiplies it natively, else fp32; a resumed run keeps what it recorded.",
    ),
    click.option("--exact", is_flag=True, help="Decode every image fully instead of at a fraction (slower)."),
)
