"""python -m bioclip_training.demo_checkpoint --output bioclip_plugin/demo_model [--work FOLDER]

Renders scenes of the fictional biosphere, trains the demo model on them, measures it on unseen scenes and writes it as an
open_clip folder with its label set. Takes about 40 minutes on two slow cores; with --work an interrupted call can be continued.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import replacing_folder, write_whole
from bioclip_core.model_config import CONFIG
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say


def make(output: Path, recipe: DemoRecipe, *, work: Path, images: int, threads: int, workers: int) -> None:
    """Make a checkpoint folder with its figures from nothing, or from the scenes and states that ``work`` holds already.

    Raises:
        UsageError: if ``work`` belongs to another recipe or to something else.
        BioclipError: if the training cannot continue.
    """
    # Threads that wait by spinning make each other ten times slower when other programs use the cores too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # in capitals it is unknown in a Turkish locale
    import torch

    from bioclip_training.demo_checkpoint.evaluation import measure
    from bioclip_training.demo_checkpoint.learning import learn
    from bioclip_training.demo_checkpoint.scenes import write_scenes
    from bioclip_training.demo_checkpoint.writing import write_checkpoint, write_readme

    torch.set_num_threads(threads)
    work = work.resolve()  # the run stores the path of its data
    claim(work, recipe)
    first, last = learn(recipe, *write_scenes(recipe, work, workers), workers)
    with replacing_folder(output) as draft:
        write_checkpoint(draft, recipe, first, last)
        accuracy = measure(draft, recipe, images, work, workers)
        write_readme(draft, recipe, accuracy)
    for rank, share in accuracy.by_rank.items():
        say(f"{rank:8} {share:6.1%} of {accuracy.images} unseen scenes right")
    say(f"infrared {accuracy.infrared:6.1%} of {accuracy.infrared_images} right at species level")
    say(f"the checkpoint is in {output}")


def claim(work: Path, recipe: DemoRecipe) -> None:
    """Make ``work`` the folder of this recipe.

    Raises:
        UsageError: if it belongs to another recipe, or holds something else.
    """
    note, wanted = work / "recipe.json", asdict(recipe)
    if note.is_file():
        found = read_document(note, dict[str, Any], name="the recipe of an earlier call")
        others = [
            f"{name} was {found.get(name)!r} and is {value!r}" for name, value in wanted.items() if found.get(name) != value
        ]  # fmt: skip
        if others:
            raise UsageError(f"--work {work} was begun with another recipe: {'; '.join(others)}; give a new folder")
    elif work.exists() and (not work.is_dir() or any(work.iterdir())):
        raise UsageError(
            f"--work {work}: exists and holds something else; give a new folder, or the folder of an earlier call"
        )
    else:
        work.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(wanted, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if the checkpoint is written, 1 after one line with the reason, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        if min(options.images, options.threads, options.workers) < 1:
            raise UsageError(
                f"--images {options.images}, --threads {options.threads}, --workers {options.workers}: at least 1 of each is needed"
            )
        if options.output.exists() and not (options.output / CONFIG).is_file():
            raise UsageError(
                f"--output {options.output}: exists and is not a checkpoint; name a new folder or an earlier checkpoint"
            )
        with tempfile.TemporaryDirectory(prefix="bioclip-demo-") as scratch:
            make(
                options.output, DemoRecipe(), work=options.work or Path(scratch) / "work", images=options.images,
                threads=options.threads, workers=options.workers,
            )  # fmt: skip
    except (BioclipError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        advice = (
            "the same command continues" if options.work else "nothing is kept; with --work FOLDER it can be continued"
        )
        sys.stderr.write(f"interrupted: {advice}\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.demo_checkpoint", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="New folder, or an earlier checkpoint to replace."
    )
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER",
        help="Folder for scenes and training (about 650 MB), kept so that the same command can continue (default: a temporary one).",
    )  # fmt: skip
    for name, default, text in (
        ("images", 720, "Number of unseen scenes to measure it on (default: %(default)s)."),
        ("threads", 2, "Number of threads of torch (default: %(default)s)."),
        ("workers", 2, "Number of rendering processes and of decoding threads (default: %(default)s)."),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
