"""Refusal of outputs in which a curation would replace what is not its own, or change what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.listed_names import listed
from bioclip_training.curation.catalog import CATALOG_FILE
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.manifests import MANIFEST_FILE, UNFINISHED_FOLDER
from bioclip_training.curation.report import REPORT_FILE, REPORT_JSON
from bioclip_training.curation.stages import Stage

LOCK_FILE = "curate.lock"
KEPT_FOLDER = "kept"
TEMPORARY_FOLDER = "temporary"


def check_output(config: Curation, stages: Sequence[Stage]) -> None:
    """Refuse an output before anything is written or removed.

    Args:
        config: the configuration.
        stages: all stages; each has a folder of its name in the output, which is emptied before it is run again.

    Raises:
        UsageError: if the output is a file, lies in something that is read, or has something that is not of a curation
            in a place that the curation would replace.
    """
    output = config.output
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file: give a folder, or the name of a new one")
    own = [output / name for name in (*(stage.name for stage in stages), KEPT_FOLDER, TEMPORARY_FOLDER)]
    for name, path in sorted({entry for stage in stages for entry in stage.inputs(config).items()}):
        if path.resolve() in (output.resolve(), *output.resolve().parents):
            raise UsageError(
                f"output {output} lies in {name} ({path}), which would change while it is read: give an output elsewhere"
            )
        for place in own:
            if place.resolve() in (path.resolve(), *path.resolve().parents):
                raise UsageError(f"{name} ({path}) lies in {place}, which the curation replaces: give another output")
    if foreign := list(_foreign(output, stages)):
        raise UsageError(
            f"output {output} has {listed(foreign)}, made by something else, which the curation would replace: give another output, "
            f"such as {output / 'curated'}, or move what is there"
        )


def _foreign(output: Path, stages: Sequence[Stage]) -> Iterator[str]:
    folders = [output / stage.name for stage in stages]
    for folder in folders:
        if _holds_something(folder) and not _is_own(folder):
            yield folder.name
    if (output / LOCK_FILE).exists() or any(map(_is_own, folders)):
        return
    for name in (KEPT_FOLDER, TEMPORARY_FOLDER, CATALOG_FILE, REPORT_FILE, REPORT_JSON):
        if _holds_something(output / name):
            yield name


def _is_own(folder: Path) -> bool:
    return (folder / MANIFEST_FILE).exists() or (folder / UNFINISHED_FOLDER).exists()


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
