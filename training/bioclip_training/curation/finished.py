"""Results of stages on disk: which are finished, why one is run again, and files that are not as they were written."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from bioclip_core.errors import DataError
from bioclip_core.files.documents import as_recorded
from bioclip_core.identity import sha256_of
from bioclip_core.listed_names import listed
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.manifests import (
    MANIFEST_FILE,
    Begun,
    Identity,
    OtherFile,
    PartRecord,
    StageManifest,
    part_file,
)
from bioclip_training.curation.stages import Stage

NOT_RUN = "it was not run yet"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a finished stage that is not as it was written."""

    file: Path
    what: str
    """What is wrong, as the end of a sentence about the file."""

    @property
    def advice(self) -> str:
        """What is wrong, and what to do."""
        return f"{self.file} {self.what}; remove the folder {self.file.parent}, then repeat the command, which makes it again"


def look(folder: Path, identity: Identity, *, unknown: Collection[str] = ()) -> tuple[StageManifest | None, str]:
    """Return the manifest of a stage that is finished with this identity, or None and all reasons why it is run.

    Args:
        folder: of the stage.
        identity: what decides its result now.
        unknown: stages that it needs whose result is not known yet; it is taken for the same.

    Raises:
        DataError: if the manifest cannot be read, or if there are parts that the stage did not write, which would be lost.
    """
    manifest = StageManifest.read(folder)
    if manifest is None:
        return None, listed(list(_why_unfinished(folder, identity, unknown)))
    _check_foreign(folder, manifest)
    reasons = [*_changes(manifest.identity, identity, unknown)]
    reasons += [f"{damage.file.name} {damage.what}" for damage in damages(folder, manifest)]
    return (None, listed(reasons)) if reasons else (manifest, "")


def still_finished(config: Curation, stages: Sequence[Stage], finished: Mapping[str, str]) -> Iterator[StageManifest]:
    """Yield the manifests of further stages with the settings of now that were made of these results.

    Args:
        config: the configuration.
        stages: all stages, each behind those that it needs.
        finished: content of each stage that is finished, by name.
    """
    contents = dict(finished)
    for stage in stages:
        manifest = None if stage.name in contents else StageManifest.read(config.output / stage.name)
        if manifest is None or manifest.identity.settings != as_recorded(stage.settings(config)):
            continue
        if all(manifest.identity.needs.get(name, "") == contents.get(name) for name in stage.needs):
            contents[stage.name] = manifest.content
            yield manifest


def _why_unfinished(folder: Path, identity: Identity, unknown: Collection[str]) -> Iterator[str]:
    begun = Begun.read(folder)
    if begun is None:
        yield NOT_RUN
        return
    yield f"it stopped with an error: {begun.error}" if begun.error else "it was interrupted"
    if begun.identity is not None:
        yield from _changes(begun.identity, identity, unknown)


def _changes(then: Identity, now: Identity, unknown: Collection[str]) -> Iterator[str]:
    if then.version != now.version:
        yield "this version of the program works in another way"
    for what, before, after in (
        ("setting", then.settings, now.settings),
        ("input", then.inputs, now.inputs),
        ("result of the stage", then.needs, now.needs),
    ):
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name) and not (before is then.needs and name in unknown):
                yield f"the {what} {name} changed"


def _check_foreign(folder: Path, manifest: StageManifest) -> None:
    """Refuse parts that are not the stage's: the stages behind it would read them, and a new run would remove them."""
    known = {entry.file for entry in manifest.parts}
    foreign = sorted(path.name for path in folder.glob(part_file("*")) if path.name not in known)
    if foreign:
        raise DataError(
            f"{folder} has {listed(foreign)}, which the stage {manifest.stage} did not write: move what is not its own elsewhere, then "
            "repeat the command"
        )


def damages(folder: Path, manifest: StageManifest) -> Iterator[Damage]:
    """Yield the files of a finished stage that are visibly not as they were written.

    Their bytes are compared only if they were written later than the manifest.
    """
    finished_ns = (folder / MANIFEST_FILE).stat().st_mtime_ns
    for entry in manifest.all_files:
        file = folder / entry.file
        if what := _damage_of(file, entry, finished_ns):
            yield Damage(file, what)


def _damage_of(file: Path, entry: PartRecord | OtherFile, finished_ns: int) -> str:
    if not file.is_file():
        return "is missing"
    state = file.stat()
    if state.st_size != entry.bytes:
        return f"has {state.st_size:,} bytes and not {entry.bytes:,}"
    if state.st_mtime_ns > finished_ns and sha256_of(file) != entry.sha256:
        return "was changed after the stage finished"
    if isinstance(entry, PartRecord):
        try:
            rows = parquet.read_metadata(file).num_rows
        except (OSError, pa.ArrowException):
            return "is damaged and cannot be read"
        if rows != entry.rows:
            return f"has {rows:,} rows, and the manifest states {entry.rows:,}"
    return ""


def damaged_file(folders: Mapping[str, Path]) -> Damage | None:
    """Return the first file of finished stages whose bytes are not those that were written; None if all are.

    Args:
        folders: of the stages, by name.
    """
    for folder in folders.values():
        manifest = StageManifest.read(folder)
        for entry in manifest.all_files if manifest else ():
            file = folder / entry.file
            if not file.is_file():
                return Damage(file, "is missing")
            if file.stat().st_size != entry.bytes or sha256_of(file) != entry.sha256:
                return Damage(file, "is damaged, its sha256 is not that of the manifest")
    return None


def is_full(error: Exception) -> bool:
    """True for an error that says that there is no room on the disk."""
    return isinstance(error, OSError) and error.errno in _FULL
