"""A few real steps, measured and then undone: their time, their memory, and the memory of one more image.

Nothing of the run changes: weights, statistics of batch norms, moments, random numbers and the order of the data are as they
were. Only decoded images stay in the cache, where the first steps find them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from bioclip_core.errors import BioclipError
from bioclip_core.process.machine import PeakMemory, available_bytes, used_bytes
from bioclip_core.progress import Progress, silent
from bioclip_training.batches.stream import Batch
from bioclip_training.loop.memory import is_out_of_memory, out_of_memory_message, ways_out
from bioclip_training.loop.optimizer import Optimizer
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.update import back_propagate
from bioclip_training.loop.validation import CAPTIONS_AT_ONCE, IMAGES_AT_ONCE, label_captions
from bioclip_training.towers.model import Towers

STEPS = 5
"""Steps that are measured, after one that warms up."""
_ENOUGH_S = 8.0  # with that much measured time, fewer steps do
_LONG_STEP_S = 20.0  # the warm-up is a small part of such a step, which is then the measurement itself
_SAMPLES = 2  # images whose activations are counted, and twice as many


@dataclass(slots=True)
class Measured:
    """Measurement of a few steps; the same number of steps in every process."""

    step_s: list[float] = field(default_factory=list)
    """Seconds of each measured step."""
    waiting_s: list[float] = field(default_factory=list)
    """Seconds of each that the model waited for its images."""
    bad: list[tuple[str, str]] = field(default_factory=list)
    """Key and reason of samples that cannot be read."""
    image_s: float = 0.0
    """Seconds per image in a forward pass, as in validations."""
    caption_s: float = 0.0
    """Seconds per caption in a forward pass."""
    fixed: int = 0
    """Bytes of one process on the device that do not depend on the number of images."""
    per_image: int = 0
    """Bytes per image at once."""
    peak: int | None = None
    """Most bytes that were in use on the device in a step; None if the system does not tell."""
    available: int | None = None
    """Bytes that this process could have, those that it has included."""

    @property
    def median_s(self) -> float:
        return statistics.median(self.step_s)


def measure(trainer: Trainer, report: Progress = silent) -> Measured | None:
    """Measure a few steps of a trainer that has not begun; None if the caller asked to stop.

    The first step only warms up (memory, kernels, threads of the decoders), unless it is so long that this does not matter.

    Raises:
        BioclipError: if a step does not fit into memory, with the batch that does.
    """
    found = Measured()
    with _undone(trainer):
        _measure_memory_of_images(trainer, found)
        refuse_too_large(trainer, found)
        if not _measure_steps(trainer, found, report):
            return None
        _measure_forward(trainer, found)
    return found


@contextmanager
def _undone(trainer: Trainer) -> Iterator[None]:
    """Restore weights, buffers, gradients, caches of features and torch's random numbers at the end."""
    towers, device = trainer.towers, torch.device(trainer.towers.compute.device)
    kept = towers.training_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for item in towers.trainable():
            item.parameter.grad = None
        with torch.no_grad():
            towers.load_training_state(kept)
        if trainer.config.compile:
            torch.compiler.reset()  # shapes that were compiled here would decide how later ones are compiled


def _measure_steps(trainer: Trainer, found: Measured, report: Progress) -> bool:
    """Take the steps with an optimizer of their own; return False if a process asked to stop."""
    optimizer = Optimizer(trainer.towers, trainer.config, trainer.total)
    batches, world = trainer.batches(), trainer.world
    synchronize = _synchronizer(trainer.towers)
    try:
        with _peak_of(trainer.towers, found):
            while not world.agreed(_is_enough(found.step_s)):
                should_stop = trainer.config.should_stop
                if any(world.all_of(should_stop is not None and should_stop())):
                    return False
                report(len(found.step_s), STEPS + 1)
                began = time.perf_counter()
                batch, replay = next(batches)
                waited = time.perf_counter() - began
                _step(trainer, optimizer, batch, replay)
                synchronize()
                found.step_s.append(time.perf_counter() - began)
                found.waiting_s.append(waited)
                found.bad += [*batch.bad, *(replay.bad if replay else ())]
    finally:
        batches.close()
    if len(found.step_s) > 1:
        del found.step_s[0], found.waiting_s[0]
    return True


def _is_enough(step_s: list[float]) -> bool:
    if not step_s:
        return False
    return len(step_s) > STEPS or step_s[0] > _LONG_STEP_S or (len(step_s) > 1 and sum(step_s[1:]) > _ENOUGH_S)


def _step(trainer: Trainer, optimizer: Optimizer, batch: Batch, replay: Batch | None) -> None:
    towers = trainer.towers
    side = trainer.replay.side(replay) if trainer.replay and replay else None
    try:
        back_propagate(towers, trainer.data.side(batch), side, trainer.config, trainer.world, _seed)
        optimizer.step(0)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise BioclipError(out_of_memory_message(towers, batch, replay, trainer.config)) from error


def _seed(part: int) -> None:
    torch.manual_seed(part)


def _measure_forward(trainer: Trainer, found: Measured) -> None:
    """Measure a forward pass of images and of captions, as validations have them; in the first process, which validates."""
    if not trainer.world.is_first:
        return
    towers, stream, held_out = trainer.towers, trainer.data.stream, trainer.held_out
    synchronize = _synchronizer(towers)
    captions = label_captions(stream.images.taxa)[:CAPTIONS_AT_ONCE]
    size = stream.preprocessing.size
    images = torch.zeros(min(IMAGES_AT_ONCE, len(held_out) if held_out else 1), size, size, 3, dtype=torch.uint8)
    with towers.evaluating():
        for _ in range(2):  # the first one warms up
            began = time.perf_counter()
            towers.image_features(images)
            synchronize()
            half = time.perf_counter()
            towers.text_features(captions)
            synchronize()
            found.image_s, found.caption_s = (half - began) / len(images), (time.perf_counter() - half) / len(captions)
            towers.text.forget()


# Memory


def refuse_too_large(trainer: Trainer, found: Measured) -> None:
    """Refuse a step that the machine's memory cannot hold, before it is tried: the system would kill the process.

    A GPU refuses by itself, so there the step is tried.

    Raises:
        BioclipError: with the batch that fits.
    """
    needed = found.fixed + images_at_once(trainer) * found.per_image
    refused = ""
    if found.available is not None and needed > found.available and trainer.towers.compute.device == "cpu":
        fits = max(0, (found.available - found.fixed) // max(1, found.per_image))
        refused = _too_large(trainer, needed, found.available, fits)
    if reason := next(filter(None, trainer.world.all_of(refused)), ""):  # all processes end, or none
        raise BioclipError(reason)


def _too_large(trainer: Trainer, needed: int, available: int, fits: int) -> str:
    """Return the line for a step that does not fit, with the options that make it fit."""
    config, at_once = trainer.config, images_at_once(trainer)
    line = f"a step with {at_once} images at once needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available"
    if fits < 1:
        return (
            f"{line}; not even a single image fits: take a smaller model, --method lora, or a machine with more memory"
        )
    parts = next(
        (
            n
            for n in range(config.accumulate, config.batch_size + 1)
            if config.batch_size % n == 0 and _at_once(trainer, n) <= fits
        ),
        config.batch_size,
    )
    smaller = max(
        2, fits * config.batch_size // max(1, at_once * config.accumulate) // config.accumulate * config.accumulate
    )
    return f"{line}; about {fits} images at once fit. {ways_out(trainer.towers, config, parts, smaller)}"


def images_at_once(trainer: Trainer) -> int:
    """Return the number of images in a forward pass of one process: of the data and of the replay."""
    return _at_once(trainer, trainer.config.accumulate)


def _at_once(trainer: Trainer, parts: int) -> int:
    config = trainer.config
    images = config.batch_size + (config.replay_batch_size if trainer.replay else 0)
    return -(-images // (trainer.world.size * parts))


def _measure_memory_of_images(trainer: Trainer, found: Measured) -> None:
    """Count the bytes of one more image, and of weights, gradients and moments; and look how many there are.

    The bytes of an image are counted as torch saves them, which no allocator and no other program disturbs.
    """
    towers, device = trainer.towers, torch.device(trainer.towers.compute.device)
    kept = 0
    if not trainer.config.compile:  # other shapes would be compiled for it
        kept, found.per_image = _kept_for_images(trainer)
    trained = sum(item.parameter.numel() * item.parameter.element_size() for item in towers.trainable())
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        used = torch.cuda.memory_allocated(device)
        found.available = free + torch.cuda.memory_reserved(device)
    else:
        used, free_bytes = used_bytes() or 0, available_bytes()
        neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if trainer.world.size > 1 else 1
        found.available = None if free_bytes is None else free_bytes // neighbours + used
    found.fixed = (
        used + kept + (4 if trainer.config.average else 3) * trained
    )  # a gradient, two moments and the average


def _kept_for_images(trainer: Trainer) -> tuple[int, int]:
    """Return the bytes that a forward pass keeps for its backward pass: once, and per image with its caption.

    Two passes of different size tell one from the other: weights in another precision are kept once.
    """
    small, large = (_kept(trainer, images) for images in (_SAMPLES, 2 * _SAMPLES))
    per_image = max(0, (large - small) // _SAMPLES)
    return max(0, small - _SAMPLES * per_image), per_image


def _kept(trainer: Trainer, images: int) -> int:
    stream = trainer.data.stream
    return kept_bytes(trainer.towers, images, stream.preprocessing.size, label_captions(stream.images.taxa[:images]))


def kept_bytes(towers: Towers, images: int, size: int, captions: Sequence[str]) -> int:
    """Return the bytes that a forward pass of images of this size and of captions keeps, beside the model's own weights."""
    own = {value.untyped_storage().data_ptr() for value in (*towers.model.parameters(), *towers.model.buffers())}
    seen: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(value: torch.Tensor) -> None:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            # So that no other tensor gets its place. Detached: the graph holds this function, and must not be held by it in turn.
            alive.append(value.detach())

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        features = towers.image_features(torch.zeros(images, size, size, 3, dtype=torch.uint8))
        texts = towers.text_features(captions)
    del features, texts
    return sum(seen.values())


@contextmanager
def _peak_of(towers: Towers, found: Measured) -> Iterator[None]:
    """Record the most memory in use on the device while open."""
    device = torch.device(towers.compute.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield
        found.peak = torch.cuda.max_memory_reserved(device)
        return
    with PeakMemory() as peak:
        yield
    found.peak = peak.bytes


def _synchronizer(towers: Towers) -> Callable[[], None]:
    """Return a function that waits for the device."""
    device = torch.device(towers.compute.device)
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
