"""Two tiny stages for tests of the runner: numbers in parts, and their squares."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.running import run_stages
from bioclip_training.curation.stages import Stage, StageWork

NUMBERS = pa.schema([("key", pa.string()), ("number", pa.int64())])


@dataclass(frozen=True)
class Numbers(Stage):
    """Read the numbers of a text file into two parts, even and odd ones; drop negative ones."""

    name: str = "numbers"
    version: int = 1
    needs: tuple[str, ...] = ()

    def settings(self, config: Curation) -> dict[str, Any]:
        return {}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {f"source {name}": source.path for name, source in config.sources.items()}

    def run(self, work: StageWork) -> None:
        sources = work.config.sources
        read = [(name, int(line)) for name in sources for line in sources[name].path.read_text().split()]
        work.tally.read(len(read))
        for part_name, rest in (("even", 0), ("odd", 1)):
            if work.is_finished(part_name):
                continue
            with work.part(part_name, NUMBERS) as part:
                mine = sorted((f"{n:04d}", n) for _, n in read if n >= 0 and n % 2 == rest)
                part.write(pa.table({"number": [n for _, n in mine], "key": [key for key, _ in mine]}))
                for name, n in read:
                    if n < 0 and n % 2 == rest:
                        part.tally.drop("below zero", example=f"{name}: {n}")


@dataclass(frozen=True)
class Squares(Stage):
    """Square the numbers, part by part, modulo the seed if there is one."""

    name: str = "squares"
    version: int = 1
    needs: tuple[str, ...] = ("numbers",)

    def settings(self, config: Curation) -> dict[str, Any]:
        return {"seed": config.seed}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {}

    def run(self, work: StageWork) -> None:
        for path in work.parts_of("numbers"):
            name = path.stem.removeprefix("part-")
            if work.is_finished(name):
                continue
            rows = parquet.read_table(path)
            squares = [n * n % (work.config.seed or sys.maxsize) for n in rows["number"].to_pylist()]
            with work.part(name, NUMBERS) as part:
                part.write(pa.table({"key": rows["key"], "number": squares}))
                part.tally.count("squares", len(squares))
        (work.folder / "sum.txt").write_text(f"{work.config.seed}\n")
        work.keep("sum.txt")


STAGES: tuple[Stage, ...] = (Numbers(), Squares())


def configured(
    folder: Path, seed: int = 0, threads: int | None = None, order: tuple[str, ...] = ("a", "b")
) -> Curation:
    """Return a configuration with two sources of numbers, which are written if they are missing."""
    for name, text in (("a", "4 1 -3 8"), ("b", "5 -3 -8 2")):
        if not (folder / name).exists():
            (folder / name).write_text(text)
    sources = {name: SourceConfig(folder / name) for name in order}
    return Curation(folder / "out", sources, seed=seed, threads=threads)


def digests(output: Path) -> dict[str, str]:
    """Return the sha256 of every file of an output that is part of a result."""
    files = [file for file in sorted(output.rglob("*")) if file.is_file() and file.name != "curate.lock"]
    return {file.relative_to(output).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":  # killed by the test, or run to the end
    run_stages(configured(Path(sys.argv[1])), STAGES)
