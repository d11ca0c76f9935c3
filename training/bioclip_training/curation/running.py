"""Running of stages: which are finished, which are run again and why, and their manifests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.documents import as_recorded
from bioclip_core.files.locks import lock
from bioclip_core.files.replacing import remove, remove_tree
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import sha256_of
from bioclip_core.listed_names import listed
from bioclip_core.process.machine import usable_cores
from bioclip_core.progress import Progress, silent
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.input_states import state_of
from bioclip_training.curation.manifests import (
    BEGUN_FILE,
    MANIFEST_FILE,
    UNFINISHED_FOLDER,
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
        SourceError: if an input is missing, before any stage is run; if a stage cannot do its work; finished stages stay.
    """
    listener = listener or Listener()
    wanted = stages_until(stages, until)
    outcomes: dict[str, Outcome] = {}
    check_output(config, stages)
    _check_needs(config, wanted)
    with _locked(config.output):
        remove_tree(config.output / TEMPORARY_FOLDER)
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


def _check_needs(config: Curation, stages: Sequence[Stage]) -> None:
    """Find mistakes of settings and missing inputs of all stages, so that the last stage's are not found after days of work."""
    for stage in stages:
        stage.settings(config)
        for name, path in sorted(stage.inputs(config).items()):
            if not path.exists():
                state_of(name, path)  # says what is wrong


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


def look(folder: Path, identity: Identity) -> tuple[StageManifest | None, str]:
    """Return the manifest of a stage that is finished with this identity, or None and the reason why it is run."""
    manifest = StageManifest.read(folder)
    if manifest is None:
        return None, "it was interrupted" if (folder / UNFINISHED_FOLDER).exists() else "it was not run yet"
    if changes := list(_changes(manifest.identity, identity)):
        return None, listed(changes)
    for entry in manifest.all_files:
        file = folder / entry.file
        if not file.is_file() or file.stat().st_size != entry.bytes:
            return None, f"{entry.file} is missing or has another size"
    return manifest, ""


def _changes(then: Identity, now: Identity) -> Iterator[str]:
    if then.version != now.version:
        yield "this version of the program works in another way"
    for what, before, after in (
        ("setting", then.settings, now.settings),
        ("input", then.inputs, now.inputs),
        ("result of the stage", then.needs, now.needs),
    ):
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield f"the {what} {name} changed"


def _run(
    stage: Stage, config: Curation, identity: Identity, before: Mapping[str, Path], rows_in: int, progress: Progress
) -> StageManifest:
    folder = config.output / stage.name
    _prepare(folder, identity)
    temporary, kept = config.output / TEMPORARY_FOLDER / stage.name, config.output / KEPT_FOLDER / stage.name
    temporary.mkdir(parents=True)
    kept.mkdir(parents=True, exist_ok=True)
    threads = config.threads or usable_cores() or 1
    work = StageWork(folder, before, config, temporary, kept, threads, config.memory, progress=progress)
    try:
        stage.run(work)
    except (OSError, pa.ArrowException) as error:
        if damaged := _damaged(before):
            raise SourceError(
                f"the stage {stage.name} stopped: {damaged} is damaged, its sha256 is not that of the manifest; remove the folder "
                f"{damaged.parent}, then repeat the command, which makes it again"
            ) from error
        if not isinstance(error, OSError):
            raise
        raise SourceError(
            f"the stage {stage.name} stopped: {error.filename or folder}: {error.strerror or error}; "
            "the same command continues, and finished stages stay"
        ) from error
    finally:
        remove_tree(temporary)
    _check_unchanged(stage, config, identity)
    return _finish(folder, stage.name, identity, work, rows_in)


def _damaged(before: Mapping[str, Path]) -> Path | None:
    """Return a part of a finished stage whose bytes are not those that were written."""
    for folder in before.values():
        manifest = StageManifest.read(folder)
        for entry in manifest.parts if manifest else ():
            if sha256_of(folder / entry.file) != entry.sha256:
                return folder / entry.file
    return None


def _prepare(folder: Path, identity: Identity) -> None:
    """Make the folder ready: parts of an interrupted call with the same identity stay, everything else is removed."""
    begun = folder / UNFINISHED_FOLDER / BEGUN_FILE
    if not (folder / MANIFEST_FILE).exists() and begun.is_file() and begun.read_text("utf-8") == identity.key:
        for draft in folder.glob(".*.part"):
            remove(draft)
        return
    begun.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        begun, ""
    )  # the folder has a sign that it is a stage's at every moment: folders without one are refused
    for entry in [*folder.iterdir(), *begun.parent.iterdir()]:
        if entry.is_dir() and entry != begun.parent:
            remove_tree(entry)
        elif entry not in (begun, begun.parent):
            remove(entry)
    write_whole(begun, identity.key)


def _check_unchanged(stage: Stage, config: Curation, identity: Identity) -> None:
    for name, path in sorted(stage.inputs(config).items()):
        if state_of(name, path) != identity.inputs[name]:
            raise SourceError(
                f"{name} ({path}) changed while the stage {stage.name} read it; wait until it is complete, then repeat the command"
            )


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
