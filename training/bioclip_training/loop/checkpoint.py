"""The folder of a training run: saved states to continue from, the best weights, and the finished checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.device import PRECISIONS, Precision
from bioclip_core.errors import BioclipError, DataError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove, rename
from bioclip_core.files.whole import replacing_file
from bioclip_core.model_config import CONFIG
from bioclip_core.models import WEIGHTS
from bioclip_training.catalog.trained_models import settings_of
from bioclip_training.loop.differences import allowed_differences, refused_differences

if TYPE_CHECKING:
    import torch

    from bioclip_training.loop.recipe import TrainConfig

STATE_VERSION = 1
_NAMED = 12  # differing settings in a message
_STATES_KEPT = 2  # if the newest is damaged, the one before it serves


class RunFolder:
    """The paths of one training run. ``training/`` is for continuing and for the record; the rest is the checkpoint."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.metrics = output / "metrics.jsonl"
        self.training = output / "training"
        self.settings = settings_of(output)
        self.quarantine = self.training / "quarantine.csv"
        """Unreadable samples, with the reason."""
        self.result = self.training / "result.json"
        """Written last: a run that has it is finished."""

    @property
    def is_begun(self) -> bool:
        """True if a run in the folder has a state or a result; one that was refused before its first step may have other settings."""
        return self.settings.is_file() and (self.result.exists() or any(self.training.glob("state-*")))

    def best(self, step: int) -> Path:
        return self.training / f"best-{step:08d}.safetensors"

    def states(self) -> list[Path]:
        """Return the saved states, the newest first."""
        return sorted(self.training.glob("state-*.pt"), reverse=True)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Claim the folder for a run with these settings, or check that it holds an earlier part of that run.

        Raises:
            DataError: if the folder holds something else, or a run with other settings.
        """
        if self.check(settings):
            return
        try:
            self.training.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BioclipError(
                f"--output {self.output} cannot be made: {first_line(error)}; give a folder that you may write to"
            ) from error
        write_json(self.settings, settings, sort_keys=True)

    def check(self, settings: Mapping[str, Any]) -> bool:
        """Return True if the folder holds an earlier part of a run with these settings, False if it is free.

        Raises:
            DataError: if it holds something else, or a run with other settings.
        """
        if self.settings.is_file():
            if self.is_begun:
                self.check_settings(settings)
            return self.is_begun
        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise DataError(
                f"--output {self.output}: exists and holds no training run; give a new folder, or the folder of a run to continue"
            )
        return False

    @property
    def place(self) -> Path:
        """The output folder, or the folder above it that exists already."""
        return next((folder for folder in (self.output, *self.output.parents) if folder.exists()), Path())

    def free_bytes(self) -> int:
        """Return the free space on the disk of the folder."""
        return shutil.disk_usage(self.place).free

    def written_bytes(self) -> int:
        """Return the space that states and weights of an earlier part of the run take: they will be replaced."""
        files = [*self.states(), *self.training.glob("best-*.safetensors"), self.output / WEIGHTS[0]]
        return sum(file.stat().st_size for file in files if file.is_file())

    def not_writable(self) -> str:
        """Return the reason for which the folder cannot be written; empty if nothing is known against it."""
        place = self.training if self.training.is_dir() else self.place
        if not place.is_dir():
            return f"--output {self.output}: {place} is a file, not a folder; give another folder"
        if not os.access(place, os.W_OK | os.X_OK):
            return f"--output {self.output}: the folder {place} cannot be written by this user; give another folder"
        return ""

    def newest_step(self) -> int:
        """Return the step of the newest saved state that is whole, 0 without one; nothing is changed."""
        whole = (place for place in self.states() if zipfile.is_zipfile(place))
        return next((int(place.stem.split("-")[1]) for place in whole), 0)

    def recorded_precision(self) -> Precision | None:
        """Return the precision that the run in the folder computes in, None without a run."""
        if not self.is_begun:
            return None
        word = self._stored_settings().get("precision")
        return next((known for known in PRECISIONS if known == word), None)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Compare settings with those of the run in the folder, except for ``MAY_DIFFER``.

        Args:
            settings: all of them, or some parts such as ``config``; the other parts are not compared.

        Raises:
            DataError: if some differ, with their names and values.
        """
        differing = refused_differences(self._stored_settings(), settings)
        if differing:
            more = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            raise DataError(
                f"--output {self.output} holds a training run with other settings: {'; '.join(differing[:_NAMED])}{more}. "
                "Continue with the same settings, or give another folder"
            )

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """Return a line per setting that differs from the earlier part of the run, and may."""
        return allowed_differences(self._stored_settings(), settings)

    def is_from(self, config: TrainConfig) -> bool:
        """Return True if the run in the folder read the same addresses."""
        stored = self._stored_settings().get("config", {})
        return all(stored.get(name) == getattr(config, name) for name in ("data", "replay", "start"))

    def _stored_settings(self) -> dict[str, Any]:
        return read_document(self.settings, dict[str, Any], name="the settings of the training run")

    def save_state(self, step: int, state: Mapping[str, Any]) -> None:
        """Save everything that a run needs to continue after ``step`` steps, then drop the oldest states.

        Raises:
            BioclipError: if the disk is full or refuses; earlier states stay as they are.
        """
        import torch

        with checkpoint_file(self.training / f"state-{step:08d}.pt", note=self._kept_note()) as draft:
            torch.save({"version": STATE_VERSION, **state}, draft)
        for old in self.states()[_STATES_KEPT:]:
            remove(old)

    def _kept_note(self) -> str:
        states = self.states()
        return (
            f"the state of step {int(states[0].stem.split('-')[1])} is kept" if states else "no state was saved before"
        )

    def newest_state(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest readable state; report an unreadable one through ``say`` and rename it to ``.damaged``.

        Raises:
            DataError: if the state is of another version.
        """
        import torch

        for place in self.states():
            try:
                state: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises a dozen kinds for a file that is cut off
                say(f"{place.name} cannot be read ({first_line(error)}); going back to the state before it")
                rename(place, place.with_suffix(".damaged"))
                continue
            if state.get("version") != STATE_VERSION:
                raise DataError(
                    f"{place} is a state of version {state.get('version')}, this software writes version {STATE_VERSION}; "
                    "finish the run with the software that began it, or give another --output"
                )
            return state
        return None

    def save_best(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of a step; those of other steps stay until :meth:`drop_other_bests`."""
        _save_weights(self.best(step), weights, note=self._kept_note())

    def drop_other_bests(self, steps: set[int]) -> None:
        """Remove the best weights of all other steps."""
        kept = {self.best(step) for step in steps}
        for place in self.training.glob("best-*.safetensors"):
            if place not in kept:
                remove(place)


def write_model(
    folder: Path, weights: Mapping[str, torch.Tensor], model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]
) -> None:
    """Write weights and config as a folder that open_clip and the main job open with ``local-dir:``."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_weights(folder / WEIGHTS[0], weights)
    write_json(folder / CONFIG, {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg)})
    # safetensors makes its file private; the other files follow the user's umask.
    (folder / WEIGHTS[0]).chmod((folder / CONFIG).stat().st_mode & 0o777)


def _save_weights(file: Path, weights: Mapping[str, torch.Tensor], *, note: str = "") -> None:
    from safetensors.torch import save_file

    with checkpoint_file(file, note=note) as draft:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, draft, metadata={"format": "pt"})


def write_json(file: Path, values: Mapping[str, Any], *, sort_keys: bool = False) -> None:
    """Write readable JSON as a whole file."""
    with checkpoint_file(file) as draft:
        draft.write_text(json.dumps(values, indent=2, sort_keys=sort_keys) + "\n", "utf-8")


@contextmanager
def checkpoint_file(path: Path, *, note: str = "") -> Iterator[Path]:
    """Give a draft to write, as :func:`replacing_file` does, and report every failure in one line.

    Args:
        path: the file to write or replace.
        note: what remains of the run after a failure.

    Raises:
        BioclipError: if the file cannot be written, for example because the disk is full.
    """
    try:
        with replacing_file(path) as draft:
            yield draft
    except BioclipError:
        raise
    except Exception as error:  # on a full disk torch, safetensors and the system each raise their own kind
        free = shutil.disk_usage(path.parent).free
        raise BioclipError(
            f"{path} cannot be written: {first_line(error)} ({free / 1e6:.0f} MB are free){note and '; ' + note}. "
            "Free some space and run the same command again"
        ) from error
