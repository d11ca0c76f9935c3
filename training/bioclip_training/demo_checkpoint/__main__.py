"""python -m bioclip_training.demo_checkpoint --output bioclip_plugin/demo_model

Renders scenes of the fictional biosphere, trains the demo model on them, measures it on unseen scenes and writes it as an
open_clip folder with its label set. About half an hour on two slow cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bioclip_core.errors import BioclipError, UsageError
from bioclip_training.biosphere import Biosphere
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say


def make(output: Path, recipe: DemoRecipe, *, images: int, threads: int, workers: int) -> None:
    """The whole way from nothing to a checkpoint folder with its figures."""
    # Threads that wait by spinning make each other ten times slower where something else runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from bioclip_training.demo_checkpoint.captions import CaptionTable
    from bioclip_training.demo_checkpoint.evaluation import measure
    from bioclip_training.demo_checkpoint.scenes import render_all
    from bioclip_training.demo_checkpoint.training import train
    from bioclip_training.demo_checkpoint.writing import put_in_place, write_checkpoint, write_readme

    torch.set_num_threads(threads)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    biosphere = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species)
    captions = CaptionTable(biosphere.taxa)
    with tempfile.TemporaryDirectory() as scratch:
        model, table = train(recipe, render_all(recipe, Path(scratch) / "scenes.npy", workers), captions)
    write_checkpoint(partial, recipe, model, table, captions)
    accuracy = measure(partial, recipe, images, workers)
    write_readme(partial, recipe, accuracy)
    put_in_place(partial, output)
    for rank, share in accuracy.by_rank.items():
        say(f"{rank:8} {share:6.1%} of {accuracy.images} unseen scenes right")
    say(f"infrared {accuracy.infrared:6.1%} of {accuracy.infrared_images} right at species level")
    say(f"the checkpoint is in {output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when the checkpoint is written, 1 with one line of why when not."""
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.demo_checkpoint", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="replaced if it is a checkpoint already"
    )
    parser.add_argument(
        "--images", type=int, default=720, help="unseen scenes that it is measured on (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render scenes (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        if min(options.images, options.threads, options.workers) < 1:
            raise UsageError(
                f"--images {options.images}, --threads {options.threads}, --workers {options.workers}: at least 1 of each is needed"
            )
        if options.output.exists() and not (options.output / "open_clip_config.json").is_file():
            raise UsageError(
                f"--output {options.output}: exists and is no checkpoint; name a new folder or an earlier checkpoint"
            )
        make(options.output, DemoRecipe(), images=options.images, threads=options.threads, workers=options.workers)
    except (BioclipError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
