"""From a recipe to a checkpoint: opens data and model, trains or goes on, and finishes the folder."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.models import ModelEntry
from bioclip_training.loop.building import build_towers, build_trainer
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World, joined_world
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainResult

if TYPE_CHECKING:
    from bioclip_training.batches.data import LabelledImages
    from bioclip_training.loop.start import Start
    from bioclip_training.loop.validation import HeldOut

log = logging.getLogger("bioclip_plugin.training")

MAY_DIFFER = frozenset({"config.output", "config.workers", "config.cache_mb", "config.device", "made_with", "world"})
"""Settings that a resumed run may have otherwise: they change its speed, not its result (on one device and as many processes)."""


def train(config: TrainConfig, models: Mapping[str, ModelEntry]) -> TrainResult:
    """Train as the recipe says, or go on with what an earlier call left unfinished; a finished run is left as it is.

    Every process of a torchrun calls this. The state of the caller's process (random numbers, threads, signals) is its
    own: it is the same afterwards.

    Args:
        config: the recipe.
        models: the registry of models, by name.

    Raises:
        TrainingStopped: if ``config.should_stop`` said so.
        BioclipError: for whatever cannot be used as given, before training where it can be known before.
    """
    import torch

    compute = choose_compute(config.device, config.precision)
    with joined_world(compute.device) as world:
        compute = _own_device(compute, world)
        devices = [torch.device(compute.device)] if compute.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            return _train(config, models, compute, world)


def _own_device(compute: Compute, world: World) -> Compute:
    """The process's own GPU, where there are several."""
    if world.size == 1 or not compute.device.startswith("cuda"):
        return compute
    import torch

    device = f"cuda:{world.local_rank % torch.cuda.device_count()}"
    torch.cuda.set_device(device)
    return replace(compute, device=device)


def _train(config: TrainConfig, models: Mapping[str, ModelEntry], compute: Compute, world: World) -> TrainResult:
    from bioclip_training.loop.finishing import finish, finished_result
    from bioclip_training.loop.start import open_start, with_pairwise_bias

    folder = RunFolder(Path(config.output))
    if (done := finished_result(folder)) is not None:
        _check_finished(folder, config)
        _say(f"the run in {folder.output} was finished already; nothing was to do", config, world, done.steps)
        return done
    check_world(config, world)
    images, replay = _open_data(config)
    start = open_start(config.start, models, config.seed)
    if config.loss == "siglip":
        start = with_pairwise_bias(start)
    asked = config
    config = config.settled(
        images=len(images), text_width=int(start.model_cfg.get("text_cfg", {}).get("width", 512)), random_weights=start.is_random
    )  # fmt: skip
    total = config.steps or 1
    settings = _settings(asked, config, start, images, replay, compute, total, world)
    if world.is_first:
        folder.begin(settings, may_differ=MAY_DIFFER)
        folder.check_space(_bytes_needed(start))
    world.agreed(None)  # nobody goes on before the folder is there
    trainer = build_trainer(config, start, images, replay, compute, world, folder, total)
    for line in opening_lines(config, images, replay, trainer.held_out, compute, total, world):
        _say(line, config, world, total)
    state = folder.newest_state(lambda line: _say(line, config, world, total))
    if state is not None:
        trainer.restore(state)
        trainer.journal.cut_after(trainer.step)
        _say(f"going on after step {trainer.step} of {total}", config, world, total)
    world.agreed(None)
    trainer.run()
    if config.method == "lora" and world.is_first:  # what is kept has the additions in its matrices
        plain = open_start(config.start, models, config.seed)
        plain = with_pairwise_bias(plain) if config.loss == "siglip" else plain
        taxa = [*images.taxa, *(replay.taxa if replay else ())]
        trainer.towers = build_towers(
            replace(config, method="full"), plain, taxa, compute, World(), replayed=replay is not None
        )
    return finish(trainer, start, images, replay, settings)


def check_world(config: TrainConfig, world: World) -> None:
    """See that every process gets equally many images.

    Raises:
        UsageError: with the batch size that would do.
    """
    parts = world.size * config.accumulate
    replay = round(config.batch_size * config.replay_ratio) if config.replay else 0
    for name, size in (("batch size", config.batch_size), ("replay batch", replay)):
        if size % world.size:
            raise UsageError(
                f"a {name} of {size} over {world.size} processes: each must get equally many; "
                f"try --batch-size {-(-config.batch_size // parts) * parts}"
                + (" and --replay-ratio 1" if name != "batch size" else "")
            )


def _open_data(config: TrainConfig) -> tuple[LabelledImages, LabelledImages | None]:
    from bioclip_training.batches.data import open_images

    images = open_images(config.data, "train", dev_fraction=config.dev_fraction)
    if len(np.unique(images.taxon_of_N)) < 2:
        raise SourceError(
            f"--data {config.data}: its part train has {len(images)} images of a single taxon, and a contrast needs two; "
            "add another, see: bioclip-plugin catalog show"
        )
    replay = open_images(config.replay, "train", dev_fraction=config.dev_fraction) if config.replay else None
    return images, replay


def _settings(
    config: TrainConfig, settled: TrainConfig, start: Start, images: LabelledImages, replay: LabelledImages | None, compute: Compute,
    total: int, world: World,
) -> dict[str, Any]:  # fmt: skip
    """What a run is made of, as it is stored; a resumed run must have the same."""
    return {
        "config": config.as_dict(),
        "steps": total,
        "learning_rate": settled.learning_rate,
        "trunk_rate": settled.trunk_rate,
        "data_sha256": images.identity,
        "replay_sha256": replay.identity if replay else None,
        "start": dict(start.identity) or {"random": config.start},
        "preprocessing": start.preprocessing.identity(),
        "precision": compute.precision,
        "world": world.size,
        "made_with": {
            **{name: _version(name) for name in ("bioclip-plugin", "torch", "open_clip_torch", "numpy", "pillow")},
            "python": platform.python_version(), "device": compute.described(),
        },
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:  # run from a checkout that is not installed
        return ""


def _check_finished(folder: RunFolder, config: TrainConfig) -> None:
    import json

    was = json.loads(folder.settings.read_text("utf-8"))["config"]
    now = config.as_dict()
    others = [name for name in now if was.get(name) != now[name] and f"config.{name}" not in MAY_DIFFER]
    if others:
        name = others[0]
        raise UsageError(
            f"--output {folder.output} holds a finished run with other settings ({name} was {was.get(name)!r}, now {now[name]!r}); "
            "give another folder"
        )


def _bytes_needed(start: Start) -> int:
    """Three states (weights and two moments, each in fp32) and three copies of the weights."""
    numbers: int = sum(parameter.numel() for parameter in start.model.parameters())
    return 4 * numbers * (3 * 3 + 3)


def opening_lines(
    config: TrainConfig, images: LabelledImages, replay: LabelledImages | None, held_out: HeldOut | None, compute: Compute, total: int,
    world: World,
) -> list[str]:  # fmt: skip
    """What a run says of itself before its first step."""
    counts = np.bincount(images.taxon_of_N, minlength=len(images.taxa))
    seen = int((counts > 0).sum())
    lines = [
        f"{len(images)} images of {seen} taxa; {total} steps of {config.batch_size}"
        + (f" and {max(1, round(config.batch_size * config.replay_ratio))} replayed" if replay else "")
        + (f", {world.size} processes" if world.size > 1 else ""),
        f"on {compute.described()}",
    ]
    if single := int((counts == 1).sum()):
        lines.append(f"{single} taxa have one example: they are learnt from it alone and take no part in choosing")
    if held_out is None:
        lines.append("no dev images (--dev-fraction 0, or too few groups): the last step is kept, unchosen")
    else:
        lines.append(f"chosen on {len(held_out)} dev images, which are not trained on")
    return lines


def _say(line: str, config: TrainConfig, world: World, total: int) -> None:
    log.info(line)
    if world.is_first and config.tell:
        config.tell(TrainingProgress(0, total, message=line))
