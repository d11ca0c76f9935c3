"""The recommendation after training: the cheapest rung that the held-out images cannot tell from the best, and its commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.next_commands import command, free_name
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.evaluation.probing import MOST_EXAMPLES
from bioclip_training.evaluation.scores import numbered
from bioclip_training.evidence.intervals import difference_interval
from bioclip_training.evidence.minima import Evidence, counted
from bioclip_training.loop.frozen import PROBE, PROTOTYPES, LeftOut
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.shards.manifest import INDEX_FILE

START = "start model"
"""Name of the rung of the unchanged starting weights."""

_MOST_FOR_PROTOTYPES = 10


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The rung to use, why, and how."""

    rung: str
    sentence: str
    commands: tuple[str, ...]
    """Commands in order, the last of which classifies."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A rung as a candidate."""

    name: str
    hits_N: NDArray[np.bool_]

    @property
    def said(self) -> str:
        """Its name in a sentence."""
        return _said(self.name)

    @property
    def share(self) -> float:
        return float(self.hits_N.mean())


def _said(name: str) -> str:
    return name if name in (START, PROTOTYPES, PROBE) else "trained model"


def recommend(
    rungs: Sequence[Measured],
    evidence: Evidence,
    group_N: NDArray[np.int64],
    commands: Mapping[str, tuple[str, ...]],
    left_out: LeftOut | None,
) -> Recommendation:
    """Recommend one of the rungs.

    Args:
        rungs: the candidates, the cheapest first; the last one is the trained model if its weights are kept.
        evidence: the held-out images.
        group_N: the group of each.
        commands: by the rung's name.
        left_out: answers to images of ``train``, where the held-out ones are too few to choose on.
    """
    if not evidence.can_choose:
        return _safe_default([rung.name for rung in rungs], evidence, commands, left_out)
    best = max(rungs, key=lambda rung: rung.share)  # of equal ones the cheapest
    chosen = next(rung for rung in rungs if not _is_worse(rung.hits_N, best.hits_N, group_N))
    said = f"Use the {chosen.said}: {chosen.share:.0%} right of {evidence.counted} of dev"
    if chosen is not best:
        said += f", {best.said} {best.share:.0%}, which these images cannot tell apart"
    elif cheaper := rungs[: rungs.index(chosen)]:
        second = max(cheaper, key=lambda rung: rung.share)
        said += f"; cheaper ways are worse by more than chance ({second.said} {second.share:.0%})"
    elif len(rungs) > 1:
        second = max(rungs[1:], key=lambda rung: rung.share)
        said += f"; it is the cheapest way, and no other is better ({second.said} {second.share:.0%})"
    return Recommendation(chosen.name, f"{said}.", commands[chosen.name])


def _safe_default(
    names: Sequence[str], evidence: Evidence, commands: Mapping[str, tuple[str, ...]], left_out: LeftOut | None
) -> Recommendation:
    """Recommend where ``dev`` is too small to: an unchanged model, with a probe if that is better on images left out of it."""
    said = f"{evidence.counted[0].upper()}{evidence.counted[1:]} of dev are too few to choose a way to retrain."
    if START not in names:
        return Recommendation(
            names[-1],
            f"{said} There is no start model to fall back on, so the {_said(names[-1])} is the default.",
            commands[names[-1]],
        )
    compared, is_better = _compared(left_out) if left_out is not None and PROBE in names else ("", False)
    name = PROBE if is_better else START
    reason = "on an unchanged model" if is_better else "unchanged, it cannot be worse than before"
    return Recommendation(name, f"{said} The safe default is the {name}: {reason}.{compared}", commands[name])


def without_held_out(
    taxa: int, images: int, trained: str, commands: Mapping[str, tuple[str, ...]], *, is_random: bool, is_replayed: bool
) -> Recommendation:
    """Recommend where nothing is held out, so that nothing is measured: a way that leaves the start model as it is.

    Args:
        taxa: number of taxa of ``train``.
        images: number of its images.
        trained: name of the rung of the trained weights.
        commands: by the rung's name.
        is_random: the start has random weights.
        is_replayed: the model must keep the taxa of a replayed collection, with which prototypes do not answer.
    """
    said = "Nothing could be measured: dev has no usable image."
    if is_random:
        return Recommendation(
            trained, f"{said} There is no start model to fall back on, so the trained model, unmeasured, is the default.",
            commands[trained],
        )  # fmt: skip
    each = images / max(1, taxa)
    if is_replayed or each > _MOST_FOR_PROTOTYPES:
        name, reason = START, "unchanged, it cannot be worse than before"
    else:
        name, reason = PROTOTYPES, f"they are made for 1 to {_MOST_FOR_PROTOTYPES} images per taxon (here {each:.2g})"
    return Recommendation(
        name,
        f"{said} Use the {name} first: {reason}. Whether the trained model is better is not known.",
        commands[name],
    )


def _compared(left_out: LeftOut) -> tuple[str, bool]:
    """Say how the probe and the start compare on left-out images; and return True if the probe is better by more than chance."""
    group_T = numbered(left_out.groups_T)
    images = counted(len(group_T), len(set(left_out.groups_T)))
    learnt = (
        f" The start model learnt from {counted(left_out.learnt, None)} of train that are left out of this."
        if left_out.learnt
        else ""
    )
    if not len(group_T):
        return (
            " The start model learnt from all images of train that could tell if a probe is better, so that is not known.",
            False,
        )
    is_better = _is_worse(left_out.start_T, left_out.probe_T, group_T)
    if left_out.is_new_to_start:
        return f" Of {images} of train that neither learnt from, {_said_of(left_out, group_T)}.{learnt}", is_better
    shares = (
        f"the probe is right for {left_out.probe_T.mean():.0%} and the start model for {left_out.start_T.mean():.0%}"
    )
    weight = (
        "it is the better one all the same, by more than chance" if is_better else "this says nothing against the probe"
    )
    return (
        f" Of {images} of train that the probe did not learn from, {shares}. Whether the start model learnt from them is not known: "
        f"{weight}.{learnt}",
        is_better,
    )


def _said_of(left_out: LeftOut, group_T: NDArray[np.int64]) -> str:
    """Say which of probe and start model is better on left-out images, by how much, and if that is more than chance."""
    probe, start = float(left_out.probe_T.mean()), float(left_out.start_T.mean())
    if probe == start:
        return f"the probe and the start model are both right for {probe:.0%}"
    better, worse = (left_out.probe_T, left_out.start_T) if probe > start else (left_out.start_T, left_out.probe_T)
    apart = abs(round(100 * probe) - round(100 * start))  # of the shares as they are shown
    amount = "less than 1 point" if not apart else f"{apart} point{'s' if apart > 1 else ''}"
    chance = "more than chance" if _is_worse(worse, better, group_T) else "which may be chance"
    return (
        f"the probe is right for {probe:.0%} and the start model for {start:.0%}: the {PROBE if probe > start else START} is better "
        f"by {amount}, {chance}"
    )


def _is_worse(one_N: NDArray[np.bool_], other_N: NDArray[np.bool_], group_N: NDArray[np.int64]) -> bool:
    """Return True if the first is right less often than the second by more than chance, on the same images."""
    _, high = difference_interval(one_N.astype(np.float64) - other_N, group_N)
    return high < 0


def commands_of(config: TrainConfig, trained: str | None, *, is_capped: bool) -> dict[str, tuple[str, ...]]:
    """Return the commands that lead to each rung, by its name.

    Args:
        config: the recipe of the run.
        trained: name of the rung of the kept weights, if these are trained ones.
        is_capped: not all images of train were examples.
    """
    computing: dict[str, Any] = {
        "device": None if config.device == "auto" else config.device,
        "precision": None if config.precision == "auto" else config.precision,
    }
    examples: dict[str, Any] = {
        **computing, "replace_prefix": () if Path(config.data).is_dir() else config.replace_prefix,
        "dev_fraction": None if config.dev_fraction == DEV_FRACTION else config.dev_fraction,
    }  # fmt: skip
    labels = {name: free_name(f"{config.output}_{word}") for name, word in
              ((START, "labels"), (PROTOTYPES, "prototypes"), (PROBE, "probe"))}  # fmt: skip
    source = {"data": config.data, "model": config.start}
    making = {
        START: command("labels build", _table_of(config.data), model=config.start, output=labels[START]),
        PROTOTYPES: command(
            "prototypes build", **source, output=labels[PROTOTYPES], **examples,
            most_examples=MOST_EXAMPLES if is_capped else None,
        ),
        PROBE: command("probe build", **source, output=labels[PROBE], **examples),
    }  # fmt: skip
    found: dict[str, tuple[str, ...]] = {
        name: (made, command("classify", "PATHS", model=config.start, labels=labels[name], **computing))
        for name, made in making.items()
    }
    if trained is not None:
        found[trained] = (command("classify", "PATHS", model=f"local-dir:{config.output}"),)
    return found


def _table_of(data: str) -> str:
    """Return the table of a collection's taxa: a catalog is one, and so is the index of shards."""
    return str(Path(data) / INDEX_FILE) if Path(data).is_dir() else data
