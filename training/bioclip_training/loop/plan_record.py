"""The plan of a training run as a typed record: data, work, time, memory, disk and device, and its lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bioclip_core.progress import duration

State = Literal["new", "unfinished", "finished"]

PAUSE = (
    "Pause: Ctrl-C or SIGTERM saves the state and ends; the same command continues from there. "
    "A killed run continues from its last saved state, {every}"
)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One part of the collection."""

    name: str
    """``train`` (without its ``dev``), ``dev``, ``val``, ``unseen``, or the catalog's own word."""
    images: int
    groups: int
    taxa: int
    shows: str = ""
    """For a part that is measured on: the differences that it can show, as a sentence."""


@dataclass(frozen=True, slots=True)
class PlannedTaxa:
    """Number of images per taxon in ``train``: the long tail."""

    with_1: int
    """Taxa with a single image."""
    with_2_to_9: int
    with_10_or_more: int
    without: int
    """Taxa of the collection without an image in ``train``."""
    most: int
    """Images of the most frequent taxon."""
    median: float
    """Half of the taxa have at least this many images."""
    share_of_top_tenth: float
    """Share of the images that belongs to the most frequent tenth of the taxa."""


@dataclass(frozen=True, slots=True)
class PlannedSpeed:
    """Speed as measured in a few steps of the real configuration."""

    samples_per_s: float
    """Images of ``data`` and replay, over all processes."""
    steps: int
    """Number of measured steps, without those that only warm up."""
    step_s: float
    """Median of their seconds."""
    fastest_s: float
    slowest_s: float
    waiting_share: float
    """Share of the time in which the model waited for decoded images."""


@dataclass(frozen=True, slots=True)
class PlannedTime:
    """Estimate of the time to the end, in seconds."""

    about_s: float
    low_s: float
    high_s: float
    steps_s: float
    validations_s: float
    """Validations with the decoding of ``dev``, and saved states."""
    ending_s: float
    """The comparison of methods (the ladder), the label set and the report at the end."""


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """Memory of one process, on the device that computes."""

    place: str
    """``memory`` of the machine, or the name of the GPU."""
    needed: int
    """Bytes: measured in the steps, with what is added later."""
    available: int | None
    """Bytes that this process can have; None if the system does not tell."""
    at_once: int
    """Images of a forward pass: batch and replay, divided by processes and parts."""
    at_once_that_fit: int | None
    """Largest number of images at once, from the memory of one image; None if unknown."""


@dataclass(frozen=True, slots=True)
class PlannedDisk:
    """Space for the files of the run."""

    folder: str
    needed: int
    """Bytes that are still to be written at most."""
    state: int
    """Bytes of one saved state."""
    checkpoint: int
    free: int


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that can be said of a training run before its first step; nothing was written to make it."""

    output: Path
    state: State
    step: int
    """Steps that an earlier call has done."""
    steps: int
    batch_size: int
    replay_batch_size: int
    processes: int
    parts: tuple[PlannedPart, ...]
    taxa: PlannedTaxa | None
    replay_images: int
    validations: int
    """Number of validations that are left."""
    save_every: int
    """Steps between saved states."""
    device: str
    precision: str
    compute_reason: str
    """The reason for device and precision."""
    threads: int
    """Threads that compute on the CPU."""
    decoding_threads: int
    speed: PlannedSpeed | None = None
    """None if nothing was measured."""
    time: PlannedTime | None = None
    memory: PlannedMemory | None = None
    disk: PlannedDisk | None = None
    remarks: tuple[str, ...] = ()
    """Remarks on the data and the settings, a sentence each."""
    problems: tuple[str, ...] = ()
    """Reasons for which ``train`` refuses to begin."""

    @property
    def images(self) -> int:
        """Number of images that are trained on."""
        return next((part.images for part in self.parts if part.name == "train"), 0)

    @property
    def epochs(self) -> float:
        """Passes over the images in all steps."""
        return self.steps * self.batch_size / self.images if self.images else 0.0

    def as_json(self) -> str:
        """Return the plan as one line of JSON."""
        values = {**asdict(self), "output": str(self.output), "images": self.images, "epochs": round(self.epochs, 3)}
        return json.dumps(values)

    def lines(self) -> list[str]:
        """Return the plan as lines for people."""
        if self.state == "finished":
            return [
                f"The run in {self.output} is finished: {self.steps} steps are done. The same command does nothing."
            ]
        measured = [*self.measured_lines()]
        return [*self.opening_lines(), *measured, *self.remarks, *(f"Does not work: {text}" for text in self.problems)]

    def opening_lines(self) -> Iterator[str]:
        """Yield the lines that need no measurement: data, work, device, disk, and how to pause."""
        for part in (part for part in self.parts if part.images):
            yield (
                f"{part.name}: {counted(part.images, 'image')} in {counted(part.groups, 'group')}, "
                f"{counted(part.taxa, 'taxon', 'taxa')} ({_USES.get(part.name, 'not read in training')})"
            )
        yield from filter(None, (part.shows for part in self.parts))
        if self.taxa is not None:
            yield _tail(self.taxa)
        yield self._work()
        threads = f"{counted(self.threads, 'computing thread')}, {counted(self.decoding_threads, 'decoding thread')}"
        yield f"Device: {self.device}, {self.precision} ({self.compute_reason}); {threads}"
        if self.disk is not None:
            yield (
                f"Disk: up to {size(self.disk.needed)} more in {self.disk.folder} (a state has {size(self.disk.state)}, the "
                f"checkpoint {size(self.disk.checkpoint)}); {size(self.disk.free)} are free"
            )
        yield PAUSE.format(every=self._saved())

    def measured_lines(self) -> Iterator[str]:
        """Yield the lines that follow from the measured steps: speed, time and memory."""
        if self.speed is not None:
            waiting = (
                f", {self.speed.waiting_share:.0%} of it waiting for images" if self.speed.waiting_share > 0.1 else ""
            )
            spread = f"{self.speed.fastest_s:.3g} to {self.speed.slowest_s:.3g}"
            yield (
                f"Speed: {self.speed.samples_per_s:.3g} samples/s, measured in {counted(self.speed.steps, 'step')} "
                f"of {spread} s{waiting}"
            )
        if self.time is not None:
            yield (
                f"Time to the end: about {in_words(self.time.about_s)} ({in_words(self.time.low_s)} to "
                f"{in_words(self.time.high_s)}): steps {in_words(self.time.steps_s)}, validations and states "
                f"{in_words(self.time.validations_s)}, comparison at the end {in_words(self.time.ending_s)}"
            )
        if self.memory is not None:
            of = f" of {size(self.memory.available)} available" if self.memory.available is not None else ""
            fit = self.memory.at_once_that_fit
            most = (
                f"; about {_rounded(fit)} images at once fit, this run has {self.memory.at_once}"
                if fit is not None
                else ""
            )
            yield f"Memory: {self.memory.place} needs about {size(self.memory.needed)}{of}{most}"

    def _work(self) -> str:
        replay = f" and {self.replay_batch_size} of {self.replay_images} replayed" if self.replay_images else ""
        shared = f", over {self.processes} processes" if self.processes > 1 else ""
        left = f"; {self.steps - self.step} are left" if self.state == "unfinished" else ""
        return (
            f"Work: {counted(self.steps, 'step')} of {self.batch_size} images{replay}{shared}, which is "
            f"{_passes(self.epochs)} over train; {counted(self.validations, 'validation')}{left}"
        )

    def _saved(self) -> str:
        every = f"saved every {self.save_every} steps" if self.save_every > 1 else "saved after each step"
        seconds = self.save_every * self.speed.step_s if self.speed else 0.0
        return f"{every}, about every {duration(seconds)}" if seconds >= 1 else every


_USES = {"train": "trained on", "dev": "held out of training"}


def _tail(taxa: PlannedTaxa) -> str:
    without = f"; {counted(taxa.without, 'taxon', 'taxa')} without an image in train" if taxa.without else ""
    skewed = (
        f"; the most frequent tenth of the taxa has {taxa.share_of_top_tenth:.0%} of the images, see --balance"
        if taxa.share_of_top_tenth > 0.5 and taxa.with_1 + taxa.with_2_to_9
        else ""
    )
    return (
        f"Images per taxon in train: {taxa.with_1} taxa have 1, {taxa.with_2_to_9} have 2 to 9, {taxa.with_10_or_more} have 10 "
        f"or more; half of them have up to {taxa.median:g}, the most frequent has {taxa.most}{skewed}{without}"
    )


def in_words(seconds: float) -> str:
    """Return an estimated length of time in words, not more exact than it is.

    >>> in_words(0.2), in_words(3784), in_words(316)
    ('under 1 s', '1 h 3 min', '5 min 16 s')
    """
    return duration(seconds) if seconds >= 1 else "under 1 s"


def _passes(epochs: float) -> str:
    number = f"{epochs:.3g}" if epochs < 999.5 else f"{epochs:,.0f}"
    return f"{number} {'pass' if number == '1' else 'passes'}"


def _rounded(number: int) -> str:
    """Return a number with two significant digits."""
    return f"{int(float(f'{number:.1e}')):,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "taxon", "taxa"), counted(2000, "image")
    ('1 taxon', '2,000 images')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Return a number of bytes in words.

    >>> size(28_350_000), size(5_100_000_000)
    ('28 MB', '5.1 GB')
    """
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:.0f} kB"
    )
