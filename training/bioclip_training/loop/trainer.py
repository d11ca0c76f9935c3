"""The training loop: steps in order, saved states, and the recovery from a step that goes wrong.

Everything random is a function of the seed and the position in the data, so a state is weights, optimiser and two numbers,
and a run that was killed continues bit for bit as if it had not been.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bioclip_core.errors import BioclipError
from bioclip_core.progress import Progress
from bioclip_training.batches.caption_drawing import duplicate_share
from bioclip_training.batches.stream import Batch, TrainingStream
from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.checkpoint import RunFolder
from bioclip_training.loop.distributed import World
from bioclip_training.loop.journal import Journal
from bioclip_training.loop.memory import is_out_of_memory, out_of_memory_message
from bioclip_training.loop.optimizer import Optimizer, learning_rate
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainingStopped, stage_of
from bioclip_training.loop.update import Loss, Side, back_propagate
from bioclip_training.loop.validation import HeldOut, Validation
from bioclip_training.towers.lora import merged
from bioclip_training.towers.model import Towers

log = logging.getLogger("bioclip_plugin.training")

_RECENT = 50  # losses that a spike is compared with
_ENOUGH = 20  # before this many losses, nothing counts as a spike
_BAD_IN_A_ROW = 3  # after this many batches without a usable gradient, the weights themselves are suspected
_NAMED = 3  # unreadable samples that are reported as they are found: of a damaged disk there may be thousands
_TIMES_BACK = 5  # a run that goes back more often makes no progress

Batches = Generator[tuple[Batch, Batch | None], None, None]


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of batches, and the addition of everything else that their loss needs."""

    stream: TrainingStream
    side: Callable[[Batch], Side]


@dataclass(frozen=True, slots=True)
class UnusableStep:
    """A step that was not taken; no weight was changed."""

    reason: str
    is_spike: bool = False
    """True if the loss is a number far above the recent ones: that tells of bad weights, the other reasons of a bad batch."""


@dataclass(frozen=True, slots=True)
class Best:
    """The validation of the best trained weights so far; the start is none of them, the ladder compares it at the end."""

    step: int
    score: tuple[float, float]
    highest: float
    """The highest accuracy of any step."""

    def is_beaten_by(self, found: Validation, groups: float) -> bool:
        """Return True if the weights of a later step are to be kept instead.

        Accuracies that differ by less than the standard error of the highest one count as equal, and then the later step is
        better, since its learning rate is lower: on ten images an early step has one or two more right by luck.

        Args:
            found: the validation of the later step.
            groups: number of held-out images that are independent of each other.
        """
        highest = max(self.highest, found.top1)
        # Two right and two wrong images are added (Agresti and Coull 1998): 100% of 20 images has a standard error too.
        expected = (highest * groups + 2) / (groups + 4)
        return found.top1 >= highest - math.sqrt(expected * (1 - expected) / (groups + 4))


class Trainer:
    """One training run, from a start or a saved state to its last step; :func:`bioclip_training.loop.run.train` builds it."""

    def __init__(
        self, config: TrainConfig, towers: Towers, optimizer: Optimizer, data: Source, replay: Source | None, folder: RunFolder,
        world: World, total: int, *, held_out: HeldOut | None, held_out_of_replay: HeldOut | None, has_baseline: bool,
    ) -> None:  # fmt: skip
        self.config, self.towers, self.optimizer, self.world, self.total = config, towers, optimizer, world, total
        self.data, self.replay, self.folder = data, replay, folder
        self.held_out = held_out
        """Images of ``dev``; None without any, and in all processes but the first."""
        self.held_out_of_replay = held_out_of_replay
        """The same of the replayed collection: the knowledge that the run should keep."""
        self.starting_weights = exported_weights(towers, config) if has_baseline and world.is_first else None
        """The weights before the first step; None if they were random."""
        self.step = 0
        """Number of optimiser steps done."""
        self.position = 0
        """Number of batches taken from the data: one per step, and the batches that were left out."""
        self.best: Best | None = None
        self.journal = Journal(folder.metrics, folder.quarantine, enabled=world.is_first)
        self._recent: list[float] = []
        self._bad_in_a_row = 0
        self._times_back = 0
        self._quarantined = 0
        self._saved_at = -1
        self._validate_every, self._save_every = config.validates_every(total), config.saves_every(total)

    def run(self) -> None:
        """Train to the last step.

        Raises:
            TrainingStopped: when asked to; the state is saved.
            BioclipError: if the run cannot continue: out of memory, a full disk, a loss that never recovers.
        """
        if self.step == 0 and self._saved_at < 0:
            self._validate()
            self._save()
        batches = self.batches()
        try:
            while self.step < self.total:
                self._stop_if_asked()
                began = time.perf_counter()
                batch, replay = next(batches)
                outcome = self._update(batch, replay)
                self.position += 1
                if isinstance(outcome, UnusableStep):
                    if self._is_left_out(outcome):
                        continue
                    self._go_back(outcome)
                    batches.close()
                    batches = self.batches()
                    continue
                self.step += 1
                self._record(*outcome, batch, replay, time.perf_counter() - began)
                if self.step % self._validate_every == 0 or self.step == self.total:
                    self._validate()
                if self.step % self._save_every == 0 or self.step == self.total:
                    self._save()
        finally:
            batches.close()

    def _stop_if_asked(self) -> None:
        """Stop if any process is asked to: all of them must leave the loop at the same step."""
        should_stop = self.config.should_stop
        if any(self.world.all_of(should_stop is not None and should_stop())):
            self._save()
            raise TrainingStopped(f"stopped after step {self.step} of {self.total}; its state is saved")

    # -- one step ------------------------------------------------------------------------------------------------------

    def batches(self) -> Batches:
        """Yield pairs of a batch and a replay batch, from the current position on, without end."""
        data = self.data.stream.batches(self.position)
        replay = self.replay.stream.batches(self.position) if self.replay else None
        try:
            for batch in data:
                yield batch, next(replay) if replay else None
        finally:
            data.close()
            if replay:
                replay.close()

    def _update(self, batch: Batch, replay: Batch | None) -> tuple[Loss, float] | UnusableStep:
        """Propagate one batch back and take the step if its gradient is usable; return the loss and the gradient's norm."""
        position = self.position

        def seed(part: int) -> None:
            torch.manual_seed(((self.config.seed * 1_000_003 + position) * 1009 + part) * 1009 + self.world.rank)

        self.optimizer.zero_grad()
        replay_side = self.replay.side(replay) if self.replay and replay else None
        try:
            loss = back_propagate(self.towers, self.data.side(batch), replay_side, self.config, self.world, seed)
            if not math.isfinite(loss.total):
                return UnusableStep(f"the loss is {loss.total}")
            if self._is_spike(loss.total):
                usual = statistics.median(self._recent)
                return UnusableStep(f"the loss jumped to {loss.total:.3g} from about {usual:.3g}", is_spike=True)
            norm = self.optimizer.step(self.step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BioclipError(out_of_memory_message(self.towers, batch, replay, self.config)) from error
        if not math.isfinite(norm):
            return UnusableStep(f"the gradient is {norm}")
        with torch.no_grad():
            self.towers.log_scale.clamp_(0.0, math.log(100.0))  # CLIP's limits: cosines are multiplied by 1 to 100
        return loss, norm

    def _is_spike(self, loss: float) -> bool:
        """Return True if a loss is far above the recent ones, except for the small losses of a run that has learnt nearly all."""
        if not self.config.spike or len(self._recent) < _ENOUGH:
            return False
        return loss > self.config.spike * statistics.median(self._recent) and loss > 1.0

    def _is_left_out(self, fault: UnusableStep) -> bool:
        """Leave the batch of an unusable step out, if the batch and not the weights is to blame."""
        self._bad_in_a_row += 1
        if fault.is_spike or self._bad_in_a_row >= _BAD_IN_A_ROW:
            return False
        self.warn(
            f"step {self.step + 1}: {fault.reason}; nothing was changed, and its batch (number {self.position}) is left out"
        )
        return True

    def _go_back(self, fault: UnusableStep) -> None:
        """Return to the last saved state, and continue from there with other batches.

        Raises:
            BioclipError: if that has been tried too often, or no state was saved.
        """
        began = f"step {self.step + 1}: {fault.reason}"
        times, position = self._times_back + 1, self.position
        if times > _TIMES_BACK:
            raise BioclipError(
                f"{began}, after going back {_TIMES_BACK} times already; the states up to here are kept in "
                f"{self.folder.training}. Try a lower --learning-rate (now {self.config.learning_rate:g}) or a longer --warmup"
            )
        state = self.folder.newest_state(self.warn)
        if state is None:
            raise BioclipError(f"{began}, and no state was saved to return to; try a lower --learning-rate")
        self.restore(state)
        # The batches since then are not taken again: the same ones would end in the same place.
        self.position, self._times_back = position, times
        self.warn(f"{began}; going back to the weights of step {self.step}, and on with other batches")

    def _record(self, loss: Loss, norm: float, batch: Batch, replay: Batch | None, seconds: float) -> None:
        """Record the step and report it to the caller."""
        self._bad_in_a_row = 0
        self._recent = [*self._recent[1 - _RECENT :], loss.total]
        self.quarantine([*batch.bad, *(replay.bad if replay else ())])
        images = len(batch.keys) + (len(replay.keys) if replay else 0)
        rate = learning_rate(self.config, self.step - 1, self.total)
        samples_per_s = images * self.world.size / seconds
        self.journal.write(
            "step", step=self.step, epoch=round(batch.epoch, 4), loss=loss.total, loss_of_data=loss.of_data,
            loss_of_replay=loss.of_replay, learning_rate=rate, gradient_norm=norm,
            logit_scale=float(self.towers.log_scale.detach().exp()), duplicate_captions=duplicate_share(batch.captions),
            samples_per_s=round(samples_per_s, 2),
        )  # fmt: skip
        self._tell(loss=loss.total, learning_rate=rate, samples_per_s=samples_per_s)

    # -- validating and saving -----------------------------------------------------------------------------------------

    def _validate(self) -> None:
        """Validate on ``dev`` in the first process, and keep the weights if they are the best so far."""
        if not self.world.is_first:
            return
        with self.optimizer.averaged():
            if self.held_out is not None:
                found = self.held_out.validate(self.towers, self.stage("Validating"))
                self._compare(found, self.held_out.evidence)
            elif self.step > 0:  # without images to choose on, the latest weights are kept
                self.best = Best(self.step, (0.0, 0.0), 0.0)
            if self.best is not None and self.best.step == self.step:
                self.folder.save_best(self.step, exported_weights(self.towers, self.config))

    def _compare(self, found: Validation, evidence: Evidence) -> None:
        # Below the minimum of groups nothing is chosen: the latest step is the best one.
        is_best = self.step > 0 and (
            self.best is None or not evidence.can_choose or self.best.is_beaten_by(found, evidence.effective)
        )
        if is_best:
            self.best = Best(self.step, found.score, max(found.top1, self.best.highest if self.best else 0.0))
        self.journal.write("validation", step=self.step, best_so_far=is_best, **found.as_dict())
        self.journal.flush()
        message = "best trained so far" if is_best and evidence.can_choose else ""
        self._tell(dev_top1=found.top1, dev_images=found.images, message=message)

    def _save(self) -> None:
        """Save the state of this step, unless it is saved already."""
        if self.world.is_first and self._saved_at != self.step:
            self.journal.flush()
            self.folder.save_state(self.step, self.state())
            self.folder.drop_other_bests({self.best.step} if self.best else set())
        self._saved_at = self.step

    def state(self) -> dict[str, Any]:
        """Return everything that decides the rest of the run."""
        return {
            "step": self.step, "position": self.position, "kernels": self.towers.kernels,
            "towers": self.towers.training_state(), "optimizer": self.optimizer.state_dict(),
            "recent": self._recent, "times_back": self._times_back, "best": asdict(self.best) if self.best else None,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; later lines of the journal are removed."""
        self.towers.load_training_state(state["towers"])
        self.towers.use_kernels(state["kernels"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = self._saved_at = state["step"]
        self.position, self._recent, self._times_back = state["position"], list(state["recent"]), state["times_back"]
        best = state["best"]
        # A state of an earlier version has the start, step 0, as the best while no step was better.
        self.best = Best(best["step"], tuple(best["score"]), best["highest"]) if best and best["step"] else None
        self._bad_in_a_row = 0
        self.journal.cut_after(self.step)

    def stage(self, name: str) -> Progress:
        """Return a function that reports the progress of a stage of long work."""
        return stage_of(self.config, name, self.step, self.total)

    # -- reporting -----------------------------------------------------------------------------------------------------

    def quarantine(self, bad: Iterable[tuple[str, str]]) -> None:
        """List samples that could not be read, given by key and reason, each of them once; report the first ones."""
        for key, reason in bad:
            if not self.journal.quarantine(key, reason):
                continue
            self._quarantined += 1
            if self._quarantined <= _NAMED:
                self.warn(f"{key} is left out: {reason}")
            elif self._quarantined == _NAMED + 1:
                self.warn(
                    "more samples are left out: training/quarantine.csv lists all of them, and their number follows at the end"
                )

    def say(self, message: str) -> None:
        """Log a message and report it to the caller."""
        log.info(message)
        self._tell(message=message)

    def warn(self, message: str) -> None:
        """Log a fault and report it to the caller."""
        log.warning(message)
        self._tell(message=message)

    def _tell(self, **values: Any) -> None:
        if self.config.tell is not None:
            self.config.tell(TrainingProgress(self.step, self.total, **values))


def exported_weights(towers: Towers, config: TrainConfig) -> dict[str, torch.Tensor]:
    """Return the model's weights as open_clip loads them, with LoRA's additions in their matrices."""
    state = towers.export_state()
    return merged(state, config.lora_rank, config.lora_alpha) if config.method == "lora" else state
