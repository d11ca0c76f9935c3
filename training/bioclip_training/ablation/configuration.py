"""Configuration of an ablation: one frozen record per section of the YAML file, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from bioclip_core.captions import Caption
from bioclip_core.errors import UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.files.yaml_documents import read_yaml
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.option_documents import filled_section
from bioclip_core.options import check_options
from bioclip_training.evaluation.config import TrainedImages
from bioclip_training.loop.recipe import Loss, ReplayProjection, TrainConfig

MIXTURE = "mixture"
"""Word for the recipe's own mixture of captions, among the captions that are compared."""
TRAINED_CAPTIONS = tuple(kind.value for kind in Caption if kind is not Caption.TEMPLATES)
_OF_THE_ABLATION = frozenset({"data", "start", "output", "seed", "tell", "should_stop", "replace_prefix"})
SETTINGS = tuple(entry.name for entry in fields(TrainConfig) if entry.name not in _OF_THE_ABLATION)
"""Names of the settings of ``train`` that a configuration may give."""


@dataclass(frozen=True, slots=True)
class TestConfig:
    """Images that every model is asked about."""

    __test__ = False  # for pytest, which takes every name with Test for one of its own

    split: str = "val"
    """Part of the catalog."""
    data: Path | None = None
    """Catalog of the images; None: the one that is trained on."""
    trained_images: TrainedImages = "refuse"
    """Images that an arm, or the start model, is trained on: leave-out does not count them, keep does."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class ArmConfig:
    """One way of training that differs from the recipe."""

    train: Mapping[str, Any] = field(default_factory=dict)
    """Settings of ``train`` that differ."""
    sources: tuple[str, ...] = ()
    """Sources of the catalog that it is trained on; empty: all."""

    def __post_init__(self) -> None:
        check_options(self)
        _check_settings("train", self.train)


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """Replay of images that the model knows already."""

    data: Path
    """Catalog or shards of these images."""
    ratios: tuple[float, ...] = (0.5,)
    """Replay images per image of the collection."""
    projections: tuple[ReplayProjection, ...] = ("shared",)
    """Projection of replay images: shared, second."""

    def __post_init__(self) -> None:
        check_options(self)
        for word in self.projections:
            if word not in ("shared", "second"):
                raise UsageError(f"projections {word!r}: allowed are shared, second")


@dataclass(frozen=True, slots=True)
class CompareConfig:
    """Families of arms, each of which differs from the recipe in one thing."""

    captions: tuple[str, ...] = ()
    """Captions, each trained alone; ``mixture`` is the recipe's mixture."""
    losses: tuple[Loss, ...] = ()
    """Losses: taxon, clip, siglip."""
    sources: Literal["none", "without-each", "each-alone"] = "none"
    """Sources of the catalog: all but one, or one alone, for each of them."""
    replay: ReplayConfig | None = None
    """Replay; the recipe itself has none."""

    def __post_init__(self) -> None:
        check_options(self)
        for name, given, allowed in (
            ("captions", self.captions, (*TRAINED_CAPTIONS, MIXTURE)),
            ("losses", self.losses, ("taxon", "clip", "siglip")),
        ):
            for word in given:
                if word not in allowed:
                    raise UsageError(f"{name} {word!r}: allowed are {', '.join(allowed)}{did_you_mean(word, allowed)}")


@dataclass(frozen=True, slots=True)
class Ablation:
    """A whole configuration."""

    data: Path
    """Catalog that is trained on."""
    start: str
    """Model that every arm starts from, as ``train --start`` takes it."""
    output: Path
    """Folder of the answers and the report; the same command continues there."""
    train: Mapping[str, Any]
    """Settings of ``train`` that all arms share. ``steps`` must be given: arms are compared at equal steps."""
    compare: CompareConfig = field(default_factory=CompareConfig)
    """Families of arms."""
    arms: Mapping[str, ArmConfig] = field(default_factory=dict)
    """Arms of your own, by name."""
    baseline: str = "recipe"
    """Arm that the others are compared with; ``recipe`` is the settings above alone."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Random seeds; each arm is trained once with each."""
    tests: Mapping[str, TestConfig] = field(default_factory=lambda: {"val": TestConfig()})
    """Tests by name."""
    captions: tuple[str, ...] = (Caption.TAXONOMIC.value,)
    """Captions of the labels in the tests."""
    keep_models: bool = False
    """Keep the checkpoint of every run; without it only the answers are kept."""

    def __post_init__(self) -> None:
        check_options(self)
        _check_settings("train", self.train)
        if self.train.get("steps") is None:
            raise UsageError("train.steps is missing: arms are compared at equal steps, so give their number")
        if type(self.train["steps"]) is not int:
            raise UsageError(
                f"train.steps {self.train['steps']!r}: give a whole number; arms are compared at equal steps"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"seeds {list(self.seeds)}: give one or more different numbers from 0")
        if not self.tests:
            raise UsageError("tests is empty: give at least one, such as val: {split: val}")
        if not self.captions:
            raise UsageError("captions is empty: give at least one caption of the labels, such as taxonomic")
        allowed = tuple(kind.value for kind in Caption)
        for word in self.captions:
            if word not in allowed:
                raise UsageError(f"captions {word!r}: allowed are {', '.join(allowed)}{did_you_mean(word, allowed)}")


def _check_settings(place: str, settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name in _OF_THE_ABLATION:
            raise UsageError(f"{place}.{name}: the ablation itself sets it; give it at the top of the document")
        if name not in SETTINGS:
            raise UsageError(
                f"{place}.{name} is not a setting of train{did_you_mean(name, SETTINGS)}; known are {listed(SETTINGS)}"
            )


def read_ablation(file: Path) -> Ablation:
    """Return the configuration in a YAML file; relative paths in it are relative to its folder.

    Raises:
        DataError: if the file cannot be read or is not YAML.
        UsageError: for a setting that is unknown, missing or not allowed, with its place.
    """
    found = filled_section(Ablation, read_yaml(file, name="the configuration"), file=file)
    arms = {name: replace(arm, train=_beside(file, arm.train)) for name, arm in found.arms.items()}
    return replace(found, train=_beside(file, found.train), arms=arms)


def _beside(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of ``train`` with the address of a replay relative to the file's folder, as all of its paths are."""
    replay = settings.get("replay")
    return {**settings, "replay": str(file.parent / with_home(replay))} if isinstance(replay, str) else dict(settings)
