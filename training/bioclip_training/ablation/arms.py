"""Arms of an ablation: from its configuration to training runs that differ in one thing each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.identity import settings_id
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_training.ablation.configuration import MIXTURE, Ablation, CompareConfig
from bioclip_training.loop.differences import MAY_DIFFER
from bioclip_training.loop.recipe import TrainConfig

RECIPE = "recipe"
_DEFAULTS: dict[str, Any] = {
    entry.name: entry.default_factory() if entry.default_factory is not MISSING else entry.default
    for entry in fields(TrainConfig)
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the recipe, those that all arms share included."""
    sources: tuple[str, ...] = ()
    """Sources that it is trained on; empty: all."""
    also: tuple[str, ...] = ()
    """Names of further arms that would train the same model, and are not trained."""

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide which model comes out.

        A default that is written out is none of them, nor is what changes the speed only (``workers``, ``device``), so that a run
        that ran out of memory can be continued with less of it.
        """
        changed = {name: value for name, value in self.settings.items() if value != _DEFAULTS[name]}
        return {
            name: value for name, value in changed.items() if name == "replay" or f"config.{name}" not in MAY_DIFFER
        }

    @property
    def same_run(self) -> str:
        """A key that is equal for arms that train the same model."""
        return settings_id({"settings": self.deciding, "sources": list(self.sources)})


def arms_of(config: Ablation, sources: Sequence[str]) -> list[Arm]:
    """Return all arms, the baseline first. Of arms that train the same model only the first one stays, with the others' names.

    Args:
        config: the configuration.
        sources: the sources of the catalog's train part.

    Raises:
        UsageError: for a source that the catalog lacks, a baseline that is not an arm, or nothing to compare.
    """
    shared = dict(config.train)
    found = [Arm(RECIPE, shared), *_families(config.compare, shared, sources)]
    for name, own in config.arms.items():
        for source in own.sources:
            if source not in sources:
                raise UsageError(
                    f"arms.{name}.sources {source!r}: {config.data} has no such source in train{did_you_mean(source, sources)}; it has "
                    f"{listed(list(sources))}"
                )
        found.append(Arm(name, {**shared, **own.train}, tuple(sorted(set(own.sources)))))
    names = [arm.name for arm in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"arms.{twice}: a compared arm has this name already; give another name")
    if config.baseline not in names:
        raise UsageError(
            f"baseline {config.baseline!r} is not an arm{did_you_mean(config.baseline, names)}; the arms are {listed(names)}"
        )
    found.sort(key=lambda arm: arm.name != config.baseline)  # stable: the others keep their order
    kept: dict[str, Arm] = {}
    for arm in found:
        first = kept.setdefault(arm.same_run, arm)
        if first is not arm:
            kept[arm.same_run] = replace(first, also=(*first.also, arm.name))
    if len(kept) < 2:
        raise UsageError("nothing to compare: give compare or arms with settings that differ from those of train")
    return list(kept.values())


def _families(compare: CompareConfig, shared: Mapping[str, Any], sources: Sequence[str]) -> list[Arm]:
    found = [
        Arm(f"captions: {word}", dict(shared) if word == MIXTURE else {**shared, "captions": {word: 1.0}})
        for word in compare.captions
    ]
    found += [Arm(f"loss: {word}", {**shared, "loss": word}) for word in compare.losses]
    if compare.sources != "none" and len(sources) < 2:
        raise UsageError(
            f"compare.sources {compare.sources}: the catalog has {listed(list(sources)) or 'no source'} alone in train; two are needed"
        )
    if compare.sources == "without-each":
        found += [Arm(f"without {name}", shared, tuple(sorted(set(sources) - {name}))) for name in sources]
    if compare.sources == "each-alone":
        found += [Arm(f"{name} alone", shared, (name,)) for name in sources]
    if (replay := compare.replay) is not None:
        found += [
            Arm(
                f"replay: {projection} × {ratio:g}",
                {**shared, "replay": str(replay.data), "replay_ratio": ratio, "replay_projection": projection},
            )
            for projection in replay.projections
            for ratio in replay.ratios
        ]
    return found
