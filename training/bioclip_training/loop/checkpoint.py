"""A training run's folder: saved states for going on, the best weights, and the finished checkpoint. Written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.whole import replacing_file
from bioclip_core.models import CONFIG, WEIGHTS
from bioclip_training.catalog.rows import DEV_FRACTION

if TYPE_CHECKING:
    import torch

STATE_VERSION = 1
LADDER = "ladder.json"
_STATES_KEPT = 2  # should the newest be unreadable, there is one before it


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places of one training run. ``training/`` is for going on and for the record; the rest is the checkpoint."""

    output: Path

    @property
    def training(self) -> Path:
        """Settings, states, best weights and the list of bad samples."""
        return self.output / "training"

    @property
    def settings(self) -> Path:
        return self.training / "settings.json"

    @property
    def metrics(self) -> Path:
        """A line of JSON a step and a validation."""
        return self.output / "metrics.jsonl"

    @property
    def quarantine(self) -> Path:
        """Samples that could not be read, with the reason."""
        return self.training / "quarantine.csv"

    @property
    def result(self) -> Path:
        """Written last: a run with it is finished."""
        return self.training / "result.json"

    def best(self, step: int) -> Path:
        return self.training / f"best-{step:08d}.safetensors"

    def states(self) -> list[Path]:
        """Saved states, the newest first."""
        return sorted(self.training.glob("state-*.pt"), reverse=True)

    def begin(self, settings: Mapping[str, Any], *, may_differ: frozenset[str]) -> bool:
        """Claim the folder for these settings; whether it holds an earlier part of the same run.

        Raises:
            UsageError: if the folder holds something else, or a run with other settings.
        """
        if self.settings.is_file():
            self._check_settings(json.loads(self.settings.read_text("utf-8")), settings, may_differ)
            return True
        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise UsageError(
                f"--output {self.output}: exists and holds no training run; give a new folder, or that of a run to go on with"
            )
        self.training.mkdir(parents=True, exist_ok=True)
        with whole(self.settings) as draft:
            draft.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")
        return False

    def _check_settings(self, old: Mapping[str, Any], new: Mapping[str, Any], may_differ: frozenset[str]) -> None:
        was, now = _flattened(old), _flattened(new)
        others = sorted(
            name for name in set(was) | set(now) if was.get(name) != now.get(name) and name not in may_differ
        )
        if others:
            said = "; ".join(f"{name} was {was.get(name)!r} and is now {now.get(name)!r}" for name in others[:4])
            raise UsageError(
                f"--output {self.output} holds a training run with other settings: {said}. "
                "Go on with the same settings, or give another folder"
            )

    def save_state(self, step: int, state: Mapping[str, Any]) -> None:
        """Save what a run needs to go on after ``step`` steps, then drop what is no longer needed.

        Raises:
            BioclipError: if the disk is full or refuses; the states before stay as they are.
        """
        import torch

        with whole(self.training / f"state-{step:08d}.pt", note=self._kept_note) as draft:
            torch.save({"version": STATE_VERSION, **state}, draft)
        states = self.states()
        for old in states[_STATES_KEPT:]:
            old.unlink(missing_ok=True)

    def _kept_note(self) -> str:
        states = self.states()
        return (
            f"the state of step {int(states[0].stem.split('-')[1])} is kept" if states else "no state was saved before"
        )

    def newest_state(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest state that can be read; one that cannot is said and set aside."""
        import torch

        for place in self.states():
            try:
                state: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises a dozen kinds for a file that is cut off
                say(f"{place.name} cannot be read ({_first_line(error)}); going back to the state before it")
                place.rename(place.with_suffix(".damaged"))
                continue
            if state.get("version") != STATE_VERSION:
                raise UsageError(
                    f"{place} is a state of version {state.get('version')}, this software writes version {STATE_VERSION}; "
                    "finish the run with the software that began it, or give another --output"
                )
            return state
        return None

    def save_best(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the weights of a step; those of other steps stay until :meth:`drop_other_bests`."""
        from safetensors.torch import save_file

        with whole(self.best(step), note=self._kept_note) as draft:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, draft, metadata={"format": "pt"})

    def drop_other_bests(self, steps: set[int]) -> None:
        """Remove the best weights of all steps but these."""
        kept = {self.best(step) for step in steps}
        for place in self.training.glob("best-*.safetensors"):
            if place not in kept:
                place.unlink(missing_ok=True)

    def check_space(self, bytes_needed: int) -> None:
        """See before training whether its files will fit.

        Raises:
            BioclipError: if they will not.
        """
        free = shutil.disk_usage(self.output).free
        if free < bytes_needed:
            raise BioclipError(
                f"{self.output}: {free / 1e9:.1f} GB are free, and this run's states and checkpoint need about "
                f"{bytes_needed / 1e9:.1f} GB; free some space or give an --output on another disk"
            )


def dev_fraction_of(model: Path | None) -> float:
    """The share of ``train`` that a model of ours was chosen on and did not learn, by its folder; for others the usual one."""
    settings = RunFolder(model).settings if model else None
    try:
        return float(json.loads(settings.read_text("utf-8"))["config"]["dev_fraction"]) if settings else DEV_FRACTION
    except (OSError, ValueError, KeyError):
        return DEV_FRACTION


def ladder_of(model: Path | None) -> dict[str, Any]:
    """``{"ladder": ...}`` as :mod:`bioclip_training.loop.ladder` wrote it beside a model of ours; empty for others."""
    try:
        return {"ladder": json.loads((model / LADDER).read_text("utf-8"))} if model else {}
    except (OSError, ValueError):
        return {}


def write_model(
    folder: Path, weights: Mapping[str, torch.Tensor], model_cfg: Mapping[str, Any], preprocess_cfg: Mapping[str, Any]
) -> None:
    """Write weights and config as the folder that open_clip and the main job open with ``local-dir:``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / WEIGHTS[0]) as draft:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, draft, metadata={"format": "pt"})
    (folder / WEIGHTS[0]).chmod(0o644)  # safetensors makes it private
    config = {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg)}
    with whole(folder / CONFIG) as draft:
        draft.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


@contextmanager
def whole(path: Path, *, note: Callable[[], str] | None = None) -> Iterator[Path]:
    """Give a draft beside ``path`` to write; it takes the name once it is on the disk, and goes when the block fails.

    Raises:
        BioclipError: if the file cannot be written, for example because the disk is full.
    """
    try:
        with replacing_file(path) as draft:
            yield draft
    except BioclipError:
        raise
    except Exception as error:  # where the disk is full torch, safetensors and the system each raise their own
        free = shutil.disk_usage(path.parent).free
        kept = f"; {note()}" if note else ""
        raise BioclipError(
            f"{path} cannot be written: {_first_line(error)} ({free / 1e6:.0f} MB are free){kept}. "
            "Free some space and run the same command again"
        ) from error


def _flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{key}": inner for key, inner in _flattened(value).items()})
        else:
            flat[name] = value
    return flat


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
