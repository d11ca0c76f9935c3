"""The files that a run was given by relative paths, found again when a command starts in another folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bioclip_core.errors import LabelSetError
from bioclip_core.files.homes import with_home
from bioclip_core.files.present import exists
from bioclip_core.labels.manifest import read_manifest
from bioclip_core.models import ModelEntry
from bioclip_plugin.running.label_choice import is_word_file
from bioclip_plugin.store.records import Run, RunPlan

WORKING_DIRECTORY = "working_directory"
"""Key in a run's provenance: the folder in which it was begun or continued."""

_RULES_DIRECTORY = (
    "rules_working_directory"  # of a derived run, whose rules were given in another folder than its labels
)
_SQLITE = "sqlite:///"
_LOCAL = "local-dir:"


class RunPlaces:
    """The folders in which a run's relative paths may begin, in the order in which they are tried.

    These are the folder where the run was made, the same folder if it was moved together with the store, the working directory,
    and the folder of the store.
    """

    def __init__(self, run: Run, store_address: str) -> None:
        """Find the folders.

        Args:
            run: the run.
            store_address: the address of its store as :attr:`Store.shown_address` gives it.
        """
        self._run = run
        found = [Path(run.provenance[WORKING_DIRECTORY])] if run.provenance.get(WORKING_DIRECTORY) else []
        if store_address.startswith(_SQLITE):
            store = Path(store_address.removeprefix(_SQLITE)).absolute()
            found += [*_moved(store, str(run.provenance.get("store", ""))), Path(working_directory()), store.parent]
        else:
            found.append(Path(working_directory()))
        self.folders = tuple(dict.fromkeys(found))

    def file(self, given: Path, fits: Callable[[Path], bool] = Path.exists) -> Path | None:
        """Return the first place of a path that fits, None without one; an absolute path has only one place."""
        return next((path for path in self._places(given) if fits(path)), None)

    def rule_file(self, given: Path) -> Path:
        """Return the place of a file of the run's own rules, or the path as it is if there is none."""
        own = Path(self._run.provenance.get(_RULES_DIRECTORY) or self.folders[0]) / given
        return own if exists(own) else self.file(given) or given

    def with_rules_from_here(self, plan: RunPlan) -> RunPlan:
        """Return the plan of a derived run, with the working directory as the place of its rules' files."""
        return replace(plan, provenance={**plan.provenance, _RULES_DIRECTORY: working_directory()})

    def labels(self, given: str) -> str:
        """Return the place of the run's labels: the label set that it answered with, else one of that name.

        Raises:
            LabelSetError: if there is none, with the places that were tried.
        """
        path, wanted = with_home(given), self._run.answer_settings.get("label_set")
        found = self.file(path, lambda place: _label_set_id(place) == wanted) if not is_word_file(path) else None
        found = found or self.file(path)
        if found is None:
            tried = ", ".join(str(place) for place in self._places(path))
            raise LabelSetError(
                f"the labels {given} of run {self._run.id} are not there any more: tried {tried}; put them back in one of these "
                "places, or start the command in the folder in which classify was started"
            )
        return str(found)

    def model(self, name: str, entries: Mapping[str, ModelEntry]) -> str:
        """Return the run's model under the place of its folder or file, or its name if that is not a path here."""
        if name in entries or name.startswith("hf-hub:"):
            return name
        prefix, path = (_LOCAL, name.removeprefix(_LOCAL)) if name.startswith(_LOCAL) else ("", name)
        found = self.file(with_home(path))
        if found is None and not prefix and "=" in name:
            architecture, _, path = name.partition("=")
            prefix, found = f"{architecture}=", self.file(with_home(path))
        return name if found is None else f"{prefix}{found}"

    def _places(self, given: Path) -> list[Path]:
        return list(dict.fromkeys(folder / given for folder in self.folders))


def working_directory() -> str:
    """Return the working directory, empty if it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _moved(store: Path, stated: str) -> list[Path]:
    """Return the folder in which a store's address, as the run has it, leads to the store as it is now."""
    relative = Path(stated.removeprefix(_SQLITE))
    if not stated.startswith(_SQLITE) or relative.is_absolute() or os.pardir in relative.parts:
        return []
    count = len(relative.parts)
    return [Path(*store.parts[:-count])] if store.parts[-count:] == relative.parts else []


def _label_set_id(folder: Path) -> str | None:
    try:
        return read_manifest(folder)[1].id
    except LabelSetError:
        return None
