"""python -m bioclip_training.biosphere.publishing --output FOLDER --seed 1 --images 20000

Writes a tree of life in the published formats of seven collections, with realistic dirt, evaluation sets with planted leaks, the taxonomy
to clean it with, and the truth about every record.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bioclip_training.biosphere.publishing.rendering import OtherRendering, render

_SHOWN_EVERY_S = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if everything is written, or 1 after one line with the reason."""
    options = _parser().parse_args(argv)
    shown = [time.monotonic()]

    def progress(done: int, of: int) -> None:
        if time.monotonic() - shown[0] > _SHOWN_EVERY_S or done == of:
            shown[0] = time.monotonic()
            sys.stderr.write(f"picture {done} of {of}\n")

    try:
        if options.images < 100 or options.seed < 0 or options.processes < 1:
            raise OtherRendering(
                f"--images {options.images}, --seed {options.seed}, --processes {options.processes}: "
                "at least 100 images, a seed from 0 and one process are needed"
            )
        made = render(
            options.output, seed=options.seed, images=options.images, processes=options.processes, progress=progress
        )
    except (OtherRendering, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stderr.write(
        f"{made.images} records of {made.species} species; {made.unrecoverable:.1%} of them are unrecoverable by design\n"
        f"the configuration for curate is {options.output / 'curate.yaml'}\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.biosphere.publishing", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="New folder, or that of an interrupted call."
    )
    for name, default, text in (
        ("seed", 1, "Random seed of tree, pictures and dirt (default: %(default)s)."),
        ("images", 20_000, "Number of records of all sources together (default: %(default)s)."),
        ("processes", os.cpu_count() or 1, "Number of processes that draw (default: one per core, here %(default)s)."),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
