"""Scaling study on the biosphere. A model that is already trained is not trained again.

python -m benchmarks.scaling                  three worlds, four sizes; about two hours of two cores, continues where it stopped
python -m benchmarks.scaling --seed 1         one world alone, for another core
python -m benchmarks.scaling --report         write SCALING.md, scaling.svg and results/scaling.json of the trained models
python -m benchmarks.scaling --quick          check that everything runs, in a minute; the figures mean nothing
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.scaling.cells import QUICK, SMALL, UNTRAINED, Size, Study, plates_of
from benchmarks.scaling.measuring import measured
from benchmarks.scaling.page import draw, page
from bioclip_core.files.whole import write_whole

_HERE = Path(__file__).parent.parent
CONCLUSION = "conclusion.md"
SEEDS = (0, 1, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the missing models, measure all, write the page and return 0."""
    options = _parser().parse_args(arguments)
    import torch

    torch.set_num_threads(options.threads)
    size = QUICK if options.quick else SMALL
    seeds = (options.seed,) if options.seed is not None else SEEDS[:1] if options.quick else SEEDS
    found, facts = gathered(Study(size, may_train=not options.report, say=_say), size, seeds)
    if not found:
        _say("no world has a model of every size yet; nothing is written")
        return 1
    output = options.output or _HERE
    if options.seed is None:
        write(found, facts, size, output)
        _say(f"written: {output / 'SCALING.md'}, {output / 'scaling.svg'}, {output / 'results' / 'scaling.json'}")
    return 0


def gathered(study: Study, size: Size, seeds: Sequence[int]) -> tuple[dict[int, dict[int, Any]], list[dict[str, Any]]]:
    """Return the figures of the worlds that have all their models, and the facts of each model."""
    found: dict[int, dict[int, Any]] = {}
    facts: list[dict[str, Any]] = []
    for seed in seeds:
        cells = {images: study.features(seed, images) for images in (*size.sizes, UNTRAINED)}
        missing = [images for images, cell in cells.items() if cell is None]
        if missing:
            study.say(f"world {seed} is not counted: no model of {', '.join(map(str, missing))} images yet")
            continue
        plates = plates_of(size.pool(seed))
        found[seed] = {images: measured(cell, plates, size.sizes[0]) for images, cell in cells.items() if cell}
        facts += [dict(cell.facts) for cell in cells.values() if cell]
    return found, facts


def write(found: dict[int, dict[int, Any]], facts: list[dict[str, Any]], size: Size, output: Path) -> None:
    """Write the page, the picture and the figures."""
    conclusion = Path(__file__).parent / CONCLUSION
    said = conclusion.read_text("utf-8") if conclusion.is_file() and size is SMALL else ""
    (output / "results").mkdir(parents=True, exist_ok=True)
    stored = {
        "machine": machine.describe(),
        "models": facts,
        "figures": {str(seed): cells for seed, cells in found.items()},
    }
    write_whole(output / "results" / "scaling.json", json.dumps(stored, indent=1) + "\n")
    write_whole(output / "SCALING.md", page(found, size, said))
    draw(found, size, output / "scaling.svg")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scaling",
        description="How the structure of a model's space changes with its training data.",
    )
    parser.add_argument("--seed", type=int, help="Train this world alone and write no page.")
    parser.add_argument("--report", action="store_true", help="Write the page without training.")
    parser.add_argument("--quick", action="store_true", help="Use one small world and three steps per model.")
    parser.add_argument("--threads", type=int, default=1, help="Number of torch threads (default: %(default)s).")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="Folder of the page (default: benchmarks).")
    return parser


if __name__ == "__main__":
    sys.exit(main())
