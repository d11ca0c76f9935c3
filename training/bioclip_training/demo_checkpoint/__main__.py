"""python -m bioclip_training.demo_checkpoint --output bioclip_plugin/demo_model [--work FOLDER]

Renders scenes of the fictional biosphere, trains the demo model on them, measures it on unseen scenes and writes it as an
open_clip folder with its label set. About 40 minutes on two slow cores; with --work an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.whole import replacing_folder
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say


def make(output: Path, recipe: DemoRecipe, *, work: Path, images: int, threads: int, workers: int) -> None:
    """The whole way from nothing to a checkpoint folder with its figures; what ``work`` holds of it already is not made anew.

    Raises:
        UsageError: if ``work`` belongs to another recipe or to something else.
        BioclipError: if the training cannot go on.
    """
    # Threads that wait by spinning make each other ten times slower where something else runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from bioclip_training.demo_checkpoint.evaluation import measure
    from bioclip_training.demo_checkpoint.learning import learn
    from bioclip_training.demo_checkpoint.scenes import write_scenes
    from bioclip_training.demo_checkpoint.writing import write_checkpoint, write_readme

    torch.set_num_threads(threads)
    work = work.resolve()  # the run remembers where its data lies
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
        UsageError: if it is that of another, or holds something else.
    """
    note, wanted = work / "recipe.json", asdict(recipe)
    if note.is_file():
        found = json.loads(note.read_text("utf-8"))
        others = [
            f"{name} was {found.get(name)!r} and is {wanted[name]!r}"
            for name in wanted
            if found.get(name) != wanted[name]
        ]
        if others:
            raise UsageError(f"--work {work} was begun with another recipe: {'; '.join(others)}; give a new folder")
        return
    if work.exists() and (not work.is_dir() or any(work.iterdir())):
        raise UsageError(
            f"--work {work}: exists and holds something else; give a new folder, or that of an earlier call"
        )
    work.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    """The given folder, or one that is removed at the end."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="bioclip-demo-") as scratch:
        yield Path(scratch) / "work"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when the checkpoint is written, 1 with one line of why when not, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        if min(options.images, options.threads, options.workers) < 1:
            raise UsageError(
                f"--images {options.images}, --threads {options.threads}, --workers {options.workers}: at least 1 of each is needed"
            )
        if options.output.exists() and not (options.output / "open_clip_config.json").is_file():
            raise UsageError(
                f"--output {options.output}: exists and is no checkpoint; name a new folder or an earlier checkpoint"
            )
        with _work_folder(options.work) as work:
            make(
                options.output,
                DemoRecipe(),
                work=work,
                images=options.images,
                threads=options.threads,
                workers=options.workers,
            )
    except (BioclipError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        kept = (
            "the same command goes on where it was"
            if options.work
            else "nothing is kept; with --work FOLDER it could go on"
        )
        sys.stderr.write(f"interrupted: {kept}\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bioclip_training.demo_checkpoint", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="replaced if it is a checkpoint already"
    )
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER",
        help="for scenes and training (about 650 MB), kept so that the same command goes on (default: a temporary one)",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=int, default=720, help="unseen scenes that it is measured on (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that render and threads that read (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
