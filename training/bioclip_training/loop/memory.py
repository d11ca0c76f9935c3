"""The message of a batch that does not fit into memory: the number of images at once that would."""

from __future__ import annotations

import gc

import torch

from bioclip_training.batches.stream import Batch
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.towers.model import Towers

# torch has an exception type for the memory of GPUs. For the memory of the machine it raises a plain RuntimeError, which only
# its text tells from others.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad alloc", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error is for lack of memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)


def out_of_memory_message(towers: Towers, batch: Batch, replay: Batch | None, config: TrainConfig) -> str:
    """Return one line with the batch size that fits, found by trying."""
    images = len(batch.keys) + (len(replay.keys) if replay else 0)
    at_once = -(-images // config.accumulate)
    size = at_once // 2
    while size >= 1 and not _fits(towers, batch, size):
        size //= 2
    line = f"out of memory with {at_once} images at once"
    if size < 1:
        return f"{line}, and a single one does not fit either; take a smaller model, or one GPU with more memory"
    parts = next(n for n in range(1, config.batch_size + 1) if config.batch_size % n == 0 and -(-images // n) <= size)
    return f"{line}; {size} fit. {ways_out(towers, config, parts, max(2, size * config.batch_size // images))}"


def ways_out(towers: Towers, config: TrainConfig, parts: int, smaller: int) -> str:
    """Return the options that make a step fit: a number of parts, a smaller batch, and checkpointing if it would change something."""
    ways = [f"--accumulate {parts} (the negatives stay those of the whole batch)", f"--batch-size {smaller}"]
    if towers.vision.can_checkpoint and not config.gradient_checkpointing:
        ways.append("--gradient-checkpointing")
    return f"The same batch in parts: {', or '.join(ways)}"


def _fits(towers: Towers, batch: Batch, size: int) -> bool:
    """Try a forward and a backward pass of ``size`` images."""
    _release()
    try:
        loss = towers.image_features(torch.from_numpy(batch.images_BHWC[:size])).sum()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        for item in towers.trainable():
            item.parameter.grad = None
        _release()
    return True


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
