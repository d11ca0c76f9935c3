"""The plan of a run: counts before anything is opened for long, and time, memory and space after a few measured steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bioclip_training.batches.data import LabelledImages
from bioclip_training.catalog.enough_dev import advice_on_dev, enough_dev
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.probing import MOST_EXAMPLES
from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.building import Plan
from bioclip_training.loop.measuring import Measured, images_at_once
from bioclip_training.loop.plan_record import (
    PlannedDisk,
    PlannedMemory,
    PlannedPart,
    PlannedSpeed,
    PlannedTaxa,
    PlannedTime,
    TrainingPlan,
    counted,
    size,
)
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.validation import MOST

_STATES = 3  # two are kept, and a third is written before the oldest is removed
_COPIES = 3  # of the weights: the best ones, those that replace them, and the checkpoint
_WRITTEN_PER_S = 3e8  # bytes; a guess for a common disk, a small part of the time
_INTERPOLATIONS = 10  # validations at the end, beside those of the start and of the trained weights
_OPENING_S = 4.0  # libraries and models that are opened at the end
_FITS = 35  # of a probe, in its cross-validation
_PRODUCTS_PER_S = 1.3e8  # images × dimensions × taxa of a fit, on two cores
_TOKENS_PER_TAXON = 50
_ROOM = 0.9  # share of the available memory that a batch may fill


def opening_plan(plan: Plan, step: int) -> TrainingPlan:
    """Return the plan without measurements.

    Args:
        plan: the decided run.
        step: steps that an earlier call has done.
    """
    config, world, steps = plan.config, plan.world, plan.steps
    parts = tuple(_parts(plan.images, config.dev_fraction))
    drafted = TrainingPlan(
        output=plan.folder.output, state="unfinished" if plan.folder.is_begun else "new", step=step, steps=steps,
        batch_size=config.batch_size, replay_batch_size=config.replay_batch_size if plan.replay else 0, processes=world.size,
        parts=parts, taxa=_tail(plan.images), replay_images=len(plan.replay) if plan.replay else 0,
        validations=len(validated_steps(config.validates_every(steps), steps, step)), save_every=config.saves_every(steps),
        device=plan.compute.device, precision=plan.compute.precision, compute_reason=plan.compute.reason,
        threads=torch.get_num_threads(), decoding_threads=config.threads, disk=_disk(plan),
    )  # fmt: skip
    return replace(drafted, remarks=tuple(_remarks(plan, drafted)), problems=tuple(_problems(plan, drafted)))


def measured_plan(opening: TrainingPlan, plan: Plan, trainer: Trainer, found: Measured) -> TrainingPlan:
    """Return the plan with speed, time and memory."""
    images = plan.config.batch_size + opening.replay_batch_size
    waited = sum(found.waiting_s) / max(sum(found.step_s), 1e-9)
    speed = PlannedSpeed(
        images / found.median_s, len(found.step_s), found.median_s, min(found.step_s), max(found.step_s), waited
    )
    memory = _memory(opening, plan, trainer, found)
    remarks = (*opening.remarks, *_remarks_of_measurement(plan, trainer, found), *_remarks_of_memory(memory, plan))
    return replace(opening, speed=speed, time=_time(opening, plan, trainer, found), memory=memory, remarks=remarks)


def validated_steps(every: int, steps: int, after: int = 0) -> list[int]:
    """Return the steps after which the weights are validated, 0 for the start."""
    found = sorted({0, *range(every, steps + 1, every), steps})
    return [step for step in found if step > after or after == 0]


# Data


def _parts(images: LabelledImages, dev_fraction: float) -> Iterator[PlannedPart]:
    """Yield the parts of a collection, those of training first."""
    catalog = images.catalog
    taxon_of_N = catalog.taxon_of_N if images.numbers_T is None else images.numbers_T[catalog.taxon_of_N]
    group_of_N = _group_numbers(catalog)
    words = set(catalog.numbered("split")[1]) - {"train", "dev", ""}
    for word in ("train", "dev", *sorted(words, key=lambda word: (word != "val", word))):
        rows = catalog.rows_of(word, dev_fraction=dev_fraction)
        shows = Evidence.of(word, group_of_N[rows].tolist()).shows if word in ("dev", "val") else ""
        if len(rows) or shows:
            groups, taxa = (len(np.unique(codes[rows])) for codes in (group_of_N, taxon_of_N))
            yield PlannedPart(word, len(rows), groups, taxa, shows)


def _group_numbers(catalog: Catalog) -> NDArray[np.int64]:
    """Return the number of each row's group; a row without a group stands alone."""
    group_of_N, names = catalog.numbered("group")
    if "" in names:
        alone = np.flatnonzero(group_of_N == names.index(""))
        group_of_N[alone] = len(names) + np.arange(len(alone))
    return group_of_N


def _deciding(plan: Plan) -> Evidence:
    """Return the images that decide if anything can be chosen: those of the replay, if only they are too few."""
    dev = _evidence(plan.images, "dev", plan.config.dev_fraction)
    if plan.replayed_taxa is not None and dev.can_choose:
        old = replace(_evidence(plan.replayed_taxa, "dev", plan.config.dev_fraction), part="dev of --replay")
        return old if old.images else dev
    return dev


def _evidence(images: LabelledImages, part: str, dev_fraction: float) -> Evidence:
    rows = images.catalog.rows_of(part, dev_fraction=dev_fraction)
    return Evidence.of(part, _group_numbers(images.catalog)[rows].tolist())


def _tail(images: LabelledImages) -> PlannedTaxa:
    count_C = np.bincount(images.taxon_of_N, minlength=len(images.taxa))
    present = np.sort(count_C[count_C > 0])[::-1]
    top = present[: max(1, -(-len(present) // 10))]
    return PlannedTaxa(
        with_1=int((present == 1).sum()), with_2_to_9=int(((present >= 2) & (present <= 9)).sum()),
        with_10_or_more=int((present >= 10).sum()), without=int((count_C == 0).sum()), most=int(present[0]),
        median=float(np.median(present)), share_of_top_tenth=float(top.sum() / present.sum()),
    )  # fmt: skip


def _remarks(plan: Plan, drafted: TrainingPlan) -> Iterator[str]:
    config, images = plan.config, len(plan.images)
    yield from plan.notes
    if drafted.taxa and drafted.taxa.with_1:
        yield (
            f"{counted(drafted.taxa.with_1, 'taxon has', 'taxa have')} a single example: it is learnt, and takes no part in "
            "choosing weights"
        )
    dev, deciding = _evidence(plan.images, "dev", config.dev_fraction), _deciding(plan)
    yield dev.rule if deciding.can_choose else deciding.rule
    for part, collection in (("dev", plan.images), ("dev of --replay", plan.replayed_taxa)):
        if collection is not None:
            rows = collection.catalog.rows_of("dev", dev_fraction=config.dev_fraction)
            if said := plan.learnt_by_start(collection.catalog, rows, part):
                yield said
    if dev.images and not dev.can_choose:
        yield "dev is only measured, and not trained on; --dev-fraction 0 trains on its images too"
    if deciding.images and not deciding.can_choose:
        asked = plan.replayed_taxa if plan.replayed_taxa is not None and dev.can_choose else plan.images
        yield advice_on_dev(enough_dev(asked.catalog, config.dev_fraction))
    if plan.replay is not None and plan.replay.identity == plan.images.identity:
        yield "--replay and --data are the same collection: each batch has its images twice, and nothing else is kept from being forgotten"
    if config.batch_size > images:
        yield (
            f"A batch of {config.batch_size} is more than the {counted(images, 'image')} of train: each of them occurs about "
            f"{config.batch_size / images:.2g} times in a batch; --batch-size {max(2, images)} shows each once"
        )
    yield from _rate_remarks(config, drafted.steps)
    if drafted.epochs < 1:
        enough = -(-images // config.batch_size)
        yield f"The steps see about {drafted.epochs:.0%} of the images once; --steps {enough} sees each"


def _rate_remarks(config: TrainConfig, steps: int) -> Iterator[str]:
    """Yield what learning rate and warm-up keep the run from learning."""
    if config.learning_rate == 0:
        yield "--learning-rate 0 changes no weights, so the run learns nothing; leave it out for the usual rate"
    elif config.warmup >= 1 and config.warmup >= steps:
        yield (
            f"--warmup {config.warmup:g} is not shorter than the run of {counted(steps, 'step')}: the learning rate rises to the end, and "
            f"is never lowered; give a smaller one, such as --warmup {max(1, steps // 10)}, or a share below 1"
        )


# Space


def _disk(plan: Plan) -> PlannedDisk:
    weights = 4 * sum(value.numel() for value in plan.start.model.parameters())
    state = (4 if plan.config.average else 3) * _trained_bytes(plan)  # weights, two moments, and the average
    written = plan.folder.written_bytes()
    needed = max(0, _STATES * state + _COPIES * weights - written)
    return PlannedDisk(str(plan.folder.place.absolute()), needed, state, weights, plan.folder.free_bytes())


def _trained_bytes(plan: Plan) -> int:
    """Return the bytes of the weights that steps change, at most; LoRA's own are a few per cent of the vision tower."""
    config, total = plan.config, 0
    tokens = _TOKENS_PER_TAXON * (len(plan.taxa) + 1)  # of a token table only the rows of the captions are trained
    for name, value in plan.start.model.named_parameters():
        is_vision = name.startswith("visual.")
        if is_vision and config.method == "lora":
            total += 4 * value.numel() // 20
        elif not (config.lock_image if is_vision else config.lock_text):
            rows = min(len(value), tokens) if name.endswith("token_embedding.weight") else 0
            total += 4 * (rows * value.shape[1] if rows else value.numel())
    return total


def _problems(plan: Plan, drafted: TrainingPlan) -> Iterator[str]:
    disk = drafted.disk
    if disk is not None and disk.free < disk.needed:
        yield (
            f"{plan.folder.output}: {size(disk.free)} are free, and this run's states and checkpoint need about "
            f"{size(disk.needed)} more; free some space or give an --output on another disk"
        )
    if reason := plan.folder.not_writable():
        yield reason


# Time


def _time(opening: TrainingPlan, plan: Plan, trainer: Trainer, found: Measured) -> PlannedTime:
    left = opening.steps - opening.step
    first = min(left, -(-opening.images // plan.config.batch_size))  # the cache fills in the first pass
    waiting = min(found.median_s, sum(found.waiting_s) / len(found.waiting_s))
    later_s = found.median_s - waiting * _cached_share(plan, trainer)
    steps_s = first * found.median_s + (left - first) * later_s
    dev = trainer.held_out
    dev_images = min(MOST, next((part.images for part in opening.parts if part.name == "dev"), 0)) if dev else 0
    one_s = dev_images * found.image_s + len(plan.images.taxa) * found.caption_s
    to_decode = dev_images - len(dev) if dev else 0
    decode_s = dev.decode_s if dev else 0.0
    saved = opening.disk.state * (left // opening.save_every + 1) / _WRITTEN_PER_S if opening.disk else 0.0
    validations_s = opening.validations * one_s * (dev is not None) + max(0, to_decode) * decode_s + saved
    ending_s = _OPENING_S + len(plan.taxa) * found.caption_s  # the label set
    if dev is not None:
        frozen = 0 if plan.start.is_random else min(MOST_EXAMPLES, len(plan.images))
        is_chosen = plan.config.wise_ft and frozen and _deciding(plan).can_choose
        rungs = 1 + bool(frozen) + (_INTERPOLATIONS if is_chosen else 0)
        ending_s += (
            rungs * one_s * (2 if plan.replay else 1) + frozen * (decode_s + found.image_s) + _fit_s(plan, frozen)
        )
    rest_s = validations_s + ending_s
    slower = min(1.6, max(1.2, max(found.step_s) / found.median_s))
    faster = max(0.7, min(0.9, min(found.step_s) / found.median_s))
    return PlannedTime(
        steps_s + rest_s,
        faster * steps_s + 0.6 * rest_s,
        slower * steps_s + 2.0 * rest_s + 2.0,
        steps_s,
        validations_s,
        ending_s,
    )


def _fit_s(plan: Plan, examples: int) -> float:
    """Return the seconds that the fits of a probe take: those that choose its penalty are of limited size."""
    products = examples * int(plan.start.model_cfg.get("embed_dim", 512)) * len(plan.images.taxa)
    return (_FITS * min(products, 2e8) + min(products, 4e10)) / _PRODUCTS_PER_S


def _cached_share(plan: Plan, trainer: Trainer) -> float:
    """Return the share of the images that later passes find decoded in memory."""
    each = trainer.data.stream.cached_bytes_each()
    return min(1.0, plan.config.cache_mb * 1e6 / (each * len(plan.images))) if each else 0.0


def _remarks_of_measurement(plan: Plan, trainer: Trainer, found: Measured) -> Iterator[str]:
    if bad := dict(found.bad):
        key, reason = next(iter(bad.items()))
        yield f"Of the images read for the measurement {len(bad)} cannot be read; the first is {key}: {reason}"
    share = _cached_share(plan, trainer)
    if 0 < share < 0.95 and plan.steps * plan.config.batch_size > len(plan.images):
        yield (
            f"--cache-mb {plan.config.cache_mb} holds about {share:.0%} of the images decoded; the others are decoded again in "
            "each pass"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 1.5 * cores:
        yield f"Other programs use this machine too (load {load:.1f} on {counted(cores, 'core')}): the time depends on them"


# Memory


def _memory(opening: TrainingPlan, plan: Plan, trainer: Trainer, found: Measured) -> PlannedMemory:
    at_once = images_at_once(trainer)
    in_steps = found.peak or found.fixed + at_once * found.per_image
    if plan.compute.device.startswith("cuda"):
        later, place = 0, torch.cuda.get_device_name(plan.compute.device)
    else:
        later, place = _decoded_later(opening, plan, trainer), "this process"
    fit = None
    if found.available is not None and found.per_image:
        room = _ROOM * found.available - later - (in_steps - at_once * found.per_image)
        fit = max(0, int(room // found.per_image))
    return PlannedMemory(place, in_steps + later, found.available, at_once, fit)


def _remarks_of_memory(memory: PlannedMemory, plan: Plan) -> Iterator[str]:
    if memory.available is None or memory.needed <= memory.available:
        return
    cache = plan.config.cache_mb
    smaller = max(0, cache - int((memory.needed - _ROOM * memory.available) / 1e6))
    yield (
        f"The memory will not last: {size(memory.needed)} are needed when all images are decoded, and {size(memory.available)} are "
        f"available; use --cache-mb {smaller} (now {cache}), or --accumulate with a larger number (now {plan.config.accumulate})"
    )


def _decoded_later(opening: TrainingPlan, plan: Plan, trainer: Trainer) -> int:
    """Return the bytes of decoded images that are not in memory yet: the cache and ``dev``."""
    each = trainer.data.stream.cached_bytes_each()
    cache = min(plan.config.cache_mb * 1_000_000, int(each * len(plan.images))) - trainer.data.stream.cached_bytes()
    pixels = 3 * plan.start.preprocessing.size**2
    images = 0
    if trainer.held_out is not None:
        dev = next((part.images for part in opening.parts if part.name == "dev"), 0)
        images = min(MOST, dev) - len(trainer.held_out)
    return max(0, cache) + pixels * max(0, images)
