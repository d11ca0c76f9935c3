"""What a call of ``curate`` would do: which stages would run and why, what is known of their size, and the disk that they need."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.nouns import size_of
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.finished import NOT_RUN, look
from bioclip_training.curation.manifests import StageManifest
from bioclip_training.curation.output_places import check_output
from bioclip_training.curation.running import check_needs, identity_of, stages_until
from bioclip_training.curation.stages import Stage

_ROW_BYTES = 2_000
"""Disk that a record takes in all stages together, scratch files included."""
_SAMPLE_BYTES = 80_000
"""Size of an image of 512 pixels in a shard."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of one stage."""

    stage: str
    why: str
    """Reason why it would run; empty if it is finished."""
    certain: bool
    """False: it runs only if a stage before it gives another result."""
    manifest: StageManifest | None
    """Of its last result, also one that is out of date."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would do."""

    stages: tuple[Planned, ...]
    source_bytes: dict[str, int]
    """Size of each source in bytes."""
    free: int
    """Free bytes of the disk of the output."""
    writes_shards: bool

    @property
    def disk_line(self) -> str:
        """A sentence about the disk that the output needs at most."""
        rows = next(
            (entry.manifest.rows_out for entry in self.stages if entry.stage == "records" and entry.manifest), None
        )
        if rows is None:
            return f"The rows are not known before the stage records; {size_of(self.free)} are free on the disk of the output."
        needed = rows * (_ROW_BYTES + (_SAMPLE_BYTES if self.writes_shards else 0))
        shards = (
            f", of which {size_of(rows * _SAMPLE_BYTES)} for shards if every image has the largest size"
            if self.writes_shards
            else ""
        )
        return f"Disk needed for {rows} rows: about {size_of(needed)}{shards}; free: {size_of(self.free)}."


def plan(config: Curation, stages: Sequence[Stage], *, until: str = "") -> Plan:
    """Return what a call of ``run_stages`` with the same arguments would do. Nothing is written.

    Raises:
        UsageError: for a setting that cannot be used, and for an output that is not that of a curation.
        SourceError: if a source is missing or cannot be used, as far as its beginning says.
    """
    check_output(config, stages)
    wanted = stages_until(stages, until)
    check_needs(config, wanted)
    contents: dict[str, str] = {}
    open_stages: dict[str, bool] = {}  # with True for those that would certainly run
    planned: list[Planned] = []
    for stage in wanted:
        folder = config.output / stage.name
        waits = {name: open_stages[name] for name in stage.needs if name in open_stages}
        known = {name: contents.get(name, "") for name in stage.needs}
        manifest, why = look(folder, identity_of(stage, config, known), unknown=tuple(waits))
        is_certain = manifest is None
        if waits and manifest is not None:
            why = f"{_before(waits)}; with the same result it stays"
        elif waits and why != NOT_RUN:
            why = f"{why}, {_before(waits)}"
        if is_certain or waits:
            open_stages[stage.name] = is_certain
        elif manifest is not None:
            contents[stage.name] = manifest.content
        planned.append(Planned(stage.name, why, is_certain, StageManifest.read(folder)))
    sizes = {name: size_of_input(source.path) for name, source in sorted(config.sources.items())}
    return Plan(tuple(planned), sizes, shutil.disk_usage(_existing(config.output)).free, config.shards.write)


def _before(waits: Mapping[str, bool]) -> str:
    """Return words for the stages before one that would run, and those that may run."""
    words = (("would", [name for name in waits if waits[name]]), ("may", [name for name in waits if not waits[name]]))
    return " and ".join(f"{', '.join(names)} {word} run before it" for word, names in words if names)


def size_of_input(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
