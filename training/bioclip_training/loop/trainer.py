"""The training loop: steps in order, what is saved when, and what happens when a step goes wrong.

Everything random is a function of the seed and the position in the data, so a state is weights, optimiser and two numbers,
and a run that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError
from bioclip_training.batches.caption_drawing import duplicate_share
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World
from bioclip_training.loop.journal import Journal
from bioclip_training.loop.memory import out_of_memory_message
from bioclip_training.loop.optimizer import learning_rate
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainingStopped
from bioclip_training.loop.update import Loss, Side, back_propagate
from bioclip_training.towers.lora import merged

if TYPE_CHECKING:
    import torch

    from bioclip_training.batches.stream import Batch, TrainingStream
    from bioclip_training.loop.optimizer import Optimizer
    from bioclip_training.loop.validation import HeldOut, Validation
    from bioclip_training.towers.model import Towers

log = logging.getLogger("bioclip_plugin.training")

_RECENT = 50  # losses that a spike is compared with
_ENOUGH = 20  # before that nothing is called a spike
_BAD_IN_A_ROW = 3  # batches without a usable gradient, after which the weights themselves are suspected
_TIMES_BACK = 5  # a run that goes back more often is not going anywhere


@dataclass(frozen=True, slots=True)
class Source:
    """A stream with what its loss needs beside the batches."""

    stream: TrainingStream
    side: Callable[[Batch], Side]


@dataclass(slots=True)
class Best:
    """The validation whose weights are kept so far."""

    step: int
    score: tuple[float, float]
    highest: float
    """The highest accuracy that any step had."""

    def is_beaten_by(self, found: Validation, groups: int) -> bool:
        """Whether the weights of a later step are to be kept instead.

        Accuracies that differ by less than the standard error of the highest one are no difference, and then the later step
        is better, since its learning rate is lower: on ten images an early step has one or two more right by luck. The start's own weights
        are given up for better ones only.

        Args:
            found: the later step's.
            groups: held-out images that are independent of each other.
        """
        if self.step == 0:
            return found.score > self.score
        highest = max(self.highest, found.top1)
        return found.top1 >= highest - math.sqrt(highest * (1 - highest) / max(groups, 1))


class Trainer:
    """One training run, from a start or a saved state to its last step. Build it with :func:`bioclip_training.loop.run.train`."""

    def __init__(
        self, config: TrainConfig, towers: Towers, optimizer: Optimizer, data: Source, replay: Source | None, folder: RunFolder,
        world: World, total: int,
    ) -> None:  # fmt: skip
        self.config = config
        self.towers = towers
        self.optimizer = optimizer
        self.data = data
        self.replay = replay
        self.held_out: HeldOut | None = None
        """Images of ``dev``; None where there are none, and in all processes but the first."""
        self.held_out_of_replay: HeldOut | None = None
        """The same of the replayed collection: what the model knew before."""
        self.starting_weights: dict[str, torch.Tensor] | None = None
        """Before the first step; None where they were random."""
        self.folder = folder
        self.world = world
        self.total = total
        self.step = 0
        """Optimiser steps done."""
        self.position = 0
        """Batches taken from the data: the steps, and batches that were left out."""
        self.best: Best | None = None
        self.journal = Journal(folder.metrics, folder.quarantine, enabled=world.is_first)
        self._tell = (config.tell if world.is_first else None) or _to_nobody
        self._should_stop = config.should_stop or _never
        self._recent: list[float] = []
        self._bad_in_a_row = 0
        self._times_back = 0
        self._saved_at = -1
        every = config.validate_every or max(1, total // 20)
        self._validate_every = every
        self._save_every = config.save_every or every

    def run(self) -> None:
        """Train to the last step.

        Raises:
            TrainingStopped: when asked to; the state is saved.
            BioclipError: if the run cannot go on: out of memory, a full disk, a loss that never recovers.
        """
        if self.step == 0 and self._saved_at < 0:
            self._validate()
            self._save()
        batches = self._batches()
        try:
            while self.step < self.total:
                if self._asked_to_stop():
                    self._save()
                    raise TrainingStopped(f"stopped after step {self.step} of {self.total}; its state is saved")
                began = time.perf_counter()
                batch, replay = next(batches)
                outcome = self._update(batch, replay)
                self.position += 1
                fault = self._fault(outcome)
                if fault:
                    batches = self._recover(fault, batches)
                    continue
                self.step += 1
                self._note(outcome, batch, replay, time.perf_counter() - began)
                if self.step % self._validate_every == 0 or self.step == self.total:
                    self._validate()
                if self.step % self._save_every == 0 or self.step == self.total:
                    self._save()
        finally:
            batches.close()

    # -- one step ------------------------------------------------------------------------------------------------------

    def _update(self, batch: Batch, replay: Batch | None) -> tuple[Loss, float]:
        """Propagate one batch back and, where its gradient is usable, take the step. Gives the loss and the gradient's norm."""
        import torch

        self.optimizer.zero_grad()
        position = self.position

        def seed(part: int) -> None:
            torch.manual_seed(((self.config.seed * 1_000_003 + position) * 1009 + part) * 1009 + self.world.rank)

        replay_side = self.replay.side(replay) if self.replay and replay else None
        try:
            loss = back_propagate(self.towers, self.data.side(batch), replay_side, self.config, self.world, seed)
            usable = _finite(loss.total) and not self._is_spike(loss.total)
            norm = self.optimizer.step(self.step) if usable else float("nan")
            self._clamp_scale()
        except (RuntimeError, MemoryError) as error:
            said = out_of_memory_message(error, self.towers, batch, replay, self.config)
            if said is None:
                raise
            raise BioclipError(said) from error
        return loss, norm

    def _clamp_scale(self) -> None:
        """CLIP's limits: cosines are multiplied by 1 to 100."""
        import torch

        with torch.no_grad():
            self.towers.log_scale.clamp_(0.0, math.log(100.0))

    def _is_spike(self, loss: float) -> bool:
        """Whether a loss is far above the recent ones, and not merely above the small ones of a run that has nearly learnt all."""
        if not self.config.spike or len(self._recent) < _ENOUGH:
            return False
        return loss > self.config.spike * statistics.median(self._recent) and loss > 1.0

    def _fault(self, outcome: tuple[Loss, float]) -> str:
        """What was wrong with a step, in words; nothing if it was taken."""
        loss, norm = outcome
        if not _finite(loss.total):
            return f"the loss is {loss.total}"
        if self._is_spike(loss.total):
            return f"the loss jumped to {loss.total:.3g} from about {statistics.median(self._recent):.3g}"
        return "" if _finite(norm) else f"the gradient is {norm}"

    def _recover(self, fault: str, batches: Iterator[Any]) -> Any:
        """Leave a batch out, and after a spike or several bad batches go back to the last saved state."""
        self._bad_in_a_row += 1
        spike = fault.startswith("the loss jumped")
        if not spike and self._bad_in_a_row < _BAD_IN_A_ROW:
            self._say(
                f"step {self.step + 1}: {fault}; nothing was changed, and its batch (number {self.position}) is left out"
            )
            return batches
        self._times_back += 1
        if self._times_back > _TIMES_BACK:
            raise BioclipError(
                f"step {self.step + 1}: {fault}, after going back {_TIMES_BACK} times already; the states up to here are kept in "
                f"{self.folder.training}. Try a lower --learning-rate (now {self.config.learning_rate:g}) or a longer --warmup"
            )
        position, times, was = self.position, self._times_back, self.step
        state = self.folder.newest_state(self._say)
        if state is None:
            raise BioclipError(f"step {was + 1}: {fault}, and no state was saved that could be gone back to")
        self.restore(state)
        # The batches since then are not taken again: the same ones would end in the same place.
        self.position, self._times_back = position, times
        self.journal.cut_after(self.step)
        self._say(f"step {was + 1}: {fault}; going back to the weights of step {self.step}, and on with other batches")
        if hasattr(batches, "close"):
            batches.close()
        return self._batches()

    def _batches(self) -> Any:
        """Pairs of a batch and a replay batch, from the position in hand on, without end."""
        data = self.data.stream.batches(self.position)
        replay = self.replay.stream.batches(self.position) if self.replay else None
        try:
            for batch in data:
                yield batch, next(replay) if replay else None
        finally:
            data.close()
            if replay:
                replay.close()

    def _note(self, outcome: tuple[Loss, float], batch: Batch, replay: Batch | None, seconds: float) -> None:
        """Write the step down and tell the caller."""
        loss, norm = outcome
        self._bad_in_a_row = 0
        self._recent = [*self._recent[1 - _RECENT :], loss.total]
        for one in (batch, replay):
            if one is not None:
                for key, reason in one.bad:
                    self.quarantined(key, reason)
        images = len(batch.keys) + (len(replay.keys) if replay else 0)
        rate = learning_rate(self.config, self.step - 1, self.total)
        samples_per_s = images * self.world.size / seconds
        self.journal.step(
            step=self.step, epoch=round(batch.epoch, 4), loss=loss.total, loss_of_data=loss.of_data, loss_of_replay=loss.of_replay,
            learning_rate=rate, gradient_norm=norm, logit_scale=float(self.towers.log_scale.detach().exp()),
            duplicate_captions=duplicate_share(batch.captions), samples_per_s=round(samples_per_s, 2),
        )  # fmt: skip
        self._tell(TrainingProgress(self.step, self.total, loss.total, rate, samples_per_s))

    # -- validating and saving -----------------------------------------------------------------------------------------

    def _validate(self) -> None:
        """Validate on ``dev`` in the first process, and keep the weights if they are the best so far."""
        found: Validation | None = None
        if self.held_out is not None and self.world.is_first:
            with self.optimizer.averaged():
                found = self.held_out.validate(self.towers)
        is_best = False
        if found is not None:
            # Random weights may be lucky on a small dev; they are never what is kept.
            is_candidate = self.step > 0 or self.starting_weights is not None
            groups = len(set(self.held_out.groups)) if self.held_out else 0
            is_best = is_candidate and (self.best is None or self.best.is_beaten_by(found, groups))
            if is_best:
                highest = max(found.top1, self.best.highest if self.best else 0.0)
                self.best = Best(self.step, found.score, highest)
            self.journal.validation(step=self.step, best_so_far=is_best, **found.as_dict())
            self._tell(
                TrainingProgress(self.step, self.total, dev_top1=found.top1, message="best so far" if is_best else "")
            )
        elif self.held_out is None:
            is_best, self.best = True, Best(self.step, (0.0, 0.0), 0.0)  # nothing to choose on: the last is the best
        if is_best and self.world.is_first and self.step > 0:
            with self.optimizer.averaged():
                self.folder.save_best(self.step, self.weights())

    def _save(self) -> None:
        """Save the state of this step, unless it is saved already."""
        if self.world.is_first and self._saved_at != self.step:
            self.journal.flush()
            self.folder.save_state(self.step, self.state())
            self.folder.drop_other_bests({self.best.step} if self.best else set())
        self._saved_at = self.step

    def weights(self) -> dict[str, torch.Tensor]:
        """The model's weights as open_clip loads them, with LoRA's additions in their matrices."""
        state = self.towers.export_state()
        return merged(state, self.config.lora_rank, self.config.lora_alpha) if self.config.method == "lora" else state

    def state(self) -> dict[str, Any]:
        """All that decides the rest of the run."""
        return {
            "step": self.step, "position": self.position, "kernels": self.towers.kernels,
            "towers": self.towers.training_state(), "optimizer": self.optimizer.state_dict(),
            "recent": self._recent, "times_back": self._times_back,
            "best": None if self.best is None else {"step": self.best.step, "score": list(self.best.score), "highest": self.best.highest},
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.towers.load_training_state(state["towers"])
        self.towers.use_kernels(state["kernels"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.position = int(state["step"]), int(state["position"])
        self._recent, self._times_back = list(state["recent"]), int(state["times_back"])
        best = state["best"]
        score = (float(best["score"][0]), float(best["score"][1])) if best else (0.0, 0.0)
        self.best = Best(int(best["step"]), score, float(best["highest"])) if best else None
        self._bad_in_a_row = 0
        self._saved_at = self.step

    def quarantined(self, key: str, reason: str) -> None:
        """List a sample that could not be read; said once."""
        if self.journal.quarantined(key, reason):
            self._say(f"{key} is left out: {reason}")

    def _asked_to_stop(self) -> bool:
        return bool(any(self.world.all_of(self._should_stop())) if self.world.size > 1 else self._should_stop())

    def _say(self, message: str) -> None:
        log.warning(message)
        if self.world.is_first:
            self._tell(TrainingProgress(self.step, self.total, message=message))


def _finite(number: float) -> bool:
    return number == number and abs(number) != float("inf")


def _to_nobody(_: TrainingProgress) -> None:
    return


def _never() -> bool:
    return False
