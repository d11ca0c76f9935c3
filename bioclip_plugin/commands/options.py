"""Options that several commands share; each has one name everywhere: here, in ``bioclip.toml`` and in a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bioclip_plugin.request import DEFAULT_MODEL

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

store_option = click.option(
    "--store",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where results are kept: a path (SQLite) or a SQLAlchemy address such as postgresql+psycopg://USER@HOST/DATABASE.",
)

run_option = click.option(
    "--run", type=click.IntRange(min=1), help="Number of the run, as `runs list` shows it.  [default: the latest]"
)

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
