"""A whole curation of two tiny sources, as a program that is killed in every stage: ``python tiny_curation.py FOLDER``."""

from __future__ import annotations

import os
import random
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from published_numbers import CsvLayout, write_source
from tiny_stages import digests

from bioclip_training.curation.configuration import (
    Curation,
    EvaluationSetConfig,
    ShardsConfig,
    SourceConfig,
    SplitsConfig,
)
from bioclip_training.curation.manifests import StageManifest
from bioclip_training.curation.running import run_stages
from bioclip_training.curation.stage_list import stages
from bioclip_training.published import known

EPITHETS = ("canina", "rugosa", "gallica")
RESULTS = ("catalog", "shards", "report", "splits", "duplicates", "leakage", "names", "kinds", "filters")
"""Results that are the same wherever and whenever they are made: manifests of stages that read sources have their times."""


def write_sources(folder: Path, seed: int = 0) -> None:
    """Write two sources and an evaluation set with equal and near images in common, rows in an order that the seed decides."""
    for source, first in (("a", 0), ("b", 6), ("rare", 11)):
        (folder / source).mkdir(parents=True)
        rows: list[dict[str, Any]] = []
        for number in range(first, first + (8 if source != "rare" else 2)):
            pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3)).astype(np.uint8)
            image = Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC)
            image.save(folder / source / f"{number}.png")
            rows.append({
                "record_id": f"r{number}", "uri": f"{number}.png", "verbatim_name": f"Rosa {EPITHETS[number % 3]} L.",
                "kingdom": "Plantae", "family": "Rosaceae", "observation_id": f"o{number // 2}", "basis_of_record": "HUMAN_OBSERVATION",
            })  # fmt: skip
        random.Random(seed).shuffle(rows)
        write_source(folder / source, rows)


def configured(folder: Path, threads: int = 1, order: str = "ab") -> Curation:
    """Return the configuration."""
    return Curation(
        folder / "out", {name: SourceConfig(folder / name, "csv") for name in order}, threads=threads, precedence=("b", "a"),
        evaluation_sets={"rare": EvaluationSetConfig(folder / "rare", layout="csv")}, splits=SplitsConfig(val=0.3),
        shards=ShardsConfig(samples_per_shard=4),
    )  # fmt: skip


def results(folder: Path) -> dict[str, str]:
    """Return the sha256 of the files that are the same wherever a curation is made."""
    found = digests(folder / "out")
    return {name: digest for name, digest in found.items() if name.startswith(RESULTS) and "_manifest" not in name}


def _die_in(stage: str) -> None:
    """Have this process killed when the manifest of a stage is about to be written."""
    write = StageManifest.write

    def dying(self: StageManifest, folder: Path) -> None:
        if self.stage == stage:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, folder)

    StageManifest.write = dying  # type: ignore[method-assign]


def main(folder: Path) -> None:
    """Run the curation in one process per stage, each of which is killed in its stage, and then to its end."""
    known.layouts = lambda: (CsvLayout(),)  # type: ignore[assignment, return-value]
    config = configured(folder, threads=3, order="ba")
    for module in ("duckdb", "imagehash", "msgspec", "pyarrow.dataset"):
        import_module(module)  # once, instead of in each process
    for stage in (*(stage.name for stage in stages()), ""):
        child = os.fork()  # this process itself never begins a thread
        if not child:
            if stage:
                _die_in(stage)
            run_stages(config, stages())
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(stage or "end", "killed" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
