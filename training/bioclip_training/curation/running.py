"""Running of stages: which are finished, which are run again and why, and their manifests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from bioclip_core.errors import DataError, SourceError, first_line
from bioclip_core.files.documents import as_recorded
from bioclip_core.files.locks import lock
from bioclip_core.files.replacing import reason_of, remove, remove_tree
from bioclip_core.identity import sha256_of
from bioclip_core.process.machine import usable_cores
from bioclip_core.progress import Progress, silent
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.database import QueryError
from bioclip_training.curation.finished import damaged_file, damages, is_full, look
from bioclip_training.curation.input_states import state_of
from bioclip_training.curation.manifests import (
    BEGUN_FILE,
    MANIFEST_FILE,
    UNFINISHED_FOLDER,
    Begun,
    Identity,
    OtherFile,
    StageManifest,
    records_in,
)
from bioclip_training.curation.output_places import KEPT_FOLDER, LOCK_FILE, TEMPORARY_FOLDER, check_output
from bioclip_training.curation.stages import Stage, StageWork
from bioclip_training.curation.tallies import Tallied, added


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished stage."""

    manifest: StageManifest
    why_run: str
    """Reason why it was run by this call; empty if it was finished already."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Listener:
    """What the runner tells while it works."""

    begin: Callable[[str, str], Progress] = lambda _stage, _why: silent
    """Called with the name of a stage that is about to run, and the reason; returns its progress."""
    end: Callable[[Outcome], None] = lambda _outcome: None
    """Called with each finished stage, those that were finished already included."""


def run_stages(
    config: Curation, stages: Sequence[Stage], *, until: str = "", listener: Listener | None = None
) -> list[Outcome]:
    """Run the stages that are not finished, in order. The same call continues after an interruption.

    A stage is finished if its manifest has the settings, the states of inputs and the contents of stages that it needs now.
    So a stage that is run again with the same result lets the stages behind it be.

    Args:
        config: the configuration.
        stages: all stages, each behind those that it needs.
        until: name of the last stage to run; empty: all.
        listener: is told of the progress.

    Raises:
        UsageError: for a setting that cannot be used, and for an output that is not that of a curation.
        DataError: if another program works in the output folder.
        SourceError: if an input is missing or cannot be used, as far as its beginning says, before any stage is run; if a stage
            cannot do its work; finished stages stay.
    """
    listener = listener or Listener()
    wanted = stages_until(stages, until)
    outcomes: dict[str, Outcome] = {}
    check_output(config, stages)
    check_needs(config, wanted)
    with _locked(config.output), _emptied(config.output / TEMPORARY_FOLDER):
        for stage in wanted:
            contents = {name: outcomes[name].manifest.content for name in stage.needs}
            identity = identity_of(stage, config, contents)
            folder = config.output / stage.name
            manifest, why = look(folder, identity)
            began_at = time.monotonic()
            if manifest is None:
                progress = listener.begin(stage.name, why)
                rows_in = sum(outcomes[name].manifest.rows_out for name in stage.needs[:1])
                before = {name: config.output / name for name in outcomes}
                manifest = _run(stage, config, identity, before, rows_in, progress)
            remove_tree(folder / UNFINISHED_FOLDER)
            outcomes[stage.name] = Outcome(manifest, why, time.monotonic() - began_at)
            listener.end(outcomes[stage.name])
    return list(outcomes.values())


def check_needs(config: Curation, stages: Sequence[Stage]) -> None:
    """Find whatever is wrong with settings and inputs of all stages, so that the last stage's is not found after days of work.

    Inputs of stages that are finished with the same settings and inputs were looked at when they were run.

    Raises:
        UsageError: for a setting that cannot be used.
        BioclipError: if an input is missing or cannot be used.
    """
    for stage in stages:
        stage.settings(config)
    states = {}
    for stage in stages:
        for name, path in sorted(stage.inputs(config).items()):
            if (name, path) not in states:
                states[name, path] = state_of(name, path)  # says what is wrong
    for stage in stages:
        manifest = StageManifest.read(config.output / stage.name)
        now = {name: states[name, path] for name, path in stage.inputs(config).items()}
        settings = as_recorded(stage.settings(config))
        if manifest is None or (manifest.identity.settings, manifest.identity.inputs) != (settings, now):
            stage.check(config)


def stages_until(stages: Sequence[Stage], until: str) -> list[Stage]:
    """Return the stages up to one, without those that it does not need; all of them if ``until`` is empty."""
    by_name: dict[str, Stage] = {}
    for stage in stages:
        assert set(stage.needs) <= set(by_name), f"the stage {stage.name} stands before one that it needs"
        by_name[stage.name] = stage
    if not until:
        return list(stages)
    needed = {until}
    for stage in reversed(stages):
        if stage.name in needed:
            needed.update(stage.needs)
    return [stage for stage in stages if stage.name in needed]


def identity_of(stage: Stage, config: Curation, contents: Mapping[str, str]) -> Identity:
    """Return everything that decides the result of a stage.

    Args:
        stage: the stage.
        config: the configuration.
        contents: content of each stage that it needs.

    Raises:
        SourceError: if an input is missing.
    """
    inputs = {name: state_of(name, path) for name, path in sorted(stage.inputs(config).items())}
    return Identity(stage.version, as_recorded(stage.settings(config)), inputs, dict(sorted(contents.items())))


def _run(
    stage: Stage, config: Curation, identity: Identity, before: Mapping[str, Path], rows_in: int, progress: Progress
) -> StageManifest:
    folder = config.output / stage.name
    needed = {name: before[name] for name in stage.needs}
    try:
        _check_whole(needed)
        _prepare(folder, identity)
        work = _worked(stage, config, before, progress)
        _check_unchanged(stage, config, identity)
        _check_whole(needed)
        return _finish(folder, stage.name, identity, work, rows_in)
    except Exception as error:
        explained = _explained(error, stage.name, folder, before)
        with suppress(OSError):  # a full disk may have no room for it
            Begun(identity, first_line(explained)).replace(folder)
        if explained is error:
            raise
        raise explained from error


def _worked(stage: Stage, config: Curation, before: Mapping[str, Path], progress: Progress) -> StageWork:
    """Have a stage do its work."""
    temporary, kept = config.output / TEMPORARY_FOLDER / stage.name, config.output / KEPT_FOLDER / stage.name
    temporary.mkdir(parents=True)
    kept.mkdir(parents=True, exist_ok=True)
    threads = config.threads or usable_cores() or 1
    work = StageWork(
        config.output / stage.name, before, config, temporary, kept, threads, config.memory, progress=progress
    )
    try:
        stage.run(work)
    finally:
        remove_tree(temporary)
    return work


def _explained(error: Exception, stage: str, folder: Path, before: Mapping[str, Path]) -> Exception:
    """Return an error of a stage as a message; itself if it is one, or if it is a mistake of the program."""
    if isinstance(error, (OSError, pa.ArrowException, QueryError)):
        if not is_full(error) and (damaged := damaged_file(before)):
            return SourceError(f"the stage {stage} stopped: {damaged.advice}")
        if isinstance(error, MemoryError):
            return SourceError(
                f"the stage {stage} stopped: the memory of this machine is not enough ({first_line(error)}); state a smaller memory or "
                "fewer threads in the configuration; finished stages stay"
            )
        if isinstance(error, OSError):
            place = Path(error.filename or folder)
            advice = "make room, then the same command continues" if is_full(error) else "the same command continues"
            return SourceError(
                f"the stage {stage} stopped: {place}: {reason_of(error, place)}; {advice}, and finished stages stay"
            )
    return error


def _prepare(folder: Path, identity: Identity) -> None:
    """Make the folder ready: parts of an interrupted call with the same identity stay, everything else is removed."""
    begun = Begun.read(folder)
    if not (folder / MANIFEST_FILE).exists() and begun and begun.identity and begun.identity.key == identity.key:
        for draft in folder.glob(".*.part"):
            remove(draft)
        return
    # the folder has a sign that it is a stage's at every moment: folders without one are refused
    Begun().write(folder)
    records = folder / UNFINISHED_FOLDER
    for entry in [*folder.iterdir(), *records.iterdir()]:
        if entry.is_dir() and entry != records:
            remove_tree(entry)
        elif entry not in (records / BEGUN_FILE, records):
            remove(entry)
    Begun(identity).write(folder)


def _check_unchanged(stage: Stage, config: Curation, identity: Identity) -> None:
    for name, path in sorted(stage.inputs(config).items()):
        if state_of(name, path) != identity.inputs[name]:
            raise SourceError(
                f"{name} ({path}) changed while the stage {stage.name} read it; wait until it is complete, then repeat the command"
            )


def _check_whole(needed: Mapping[str, Path]) -> None:
    """Refuse results that were removed or changed since they were looked at, which a stage would read without an error."""
    for name, folder in needed.items():
        manifest = StageManifest.read(folder)
        for damage in damages(folder, manifest) if manifest else ():
            raise SourceError(f"the result of the stage {name} changed: {damage.advice}")


def _finish(folder: Path, name: str, identity: Identity, work: StageWork, rows_in: int) -> StageManifest:
    parts = records_in(folder)
    tallied = added([work.tally.tallied(), *(part.tallied for part in parts)])
    others = [
        OtherFile(other, (folder / other).stat().st_size, sha256 or sha256_of(folder / other))
        for other, sha256 in sorted(work.others.items())
    ]
    manifest = StageManifest(
        name, identity, tallied.rows_read or rows_in, sum(part.rows for part in parts) + tallied.rows_written, tallied.dropped,
        tallied.counts, tallied.notes, tuple(replace(part, tallied=Tallied()) for part in parts), tuple(others),
    )  # fmt: skip
    manifest.write(folder)
    return manifest


@contextmanager
def _emptied(temporary: Path) -> Iterator[None]:
    """Remove the folder of temporary files before the block, since a killed call leaves it, and after it."""
    remove_tree(temporary)
    try:
        yield
    finally:
        remove_tree(temporary)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Keep other calls out of the output folder."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        file = (output / LOCK_FILE).open("ab")
    except OSError as error:
        raise DataError(f"the output folder {output} cannot be written: {error.strerror or error}") from error
    with file:
        if lock(file.fileno(), exclusive=True) is False:
            raise DataError(f"another program curates in {output}: wait until it has ended, or give another output")
        yield
