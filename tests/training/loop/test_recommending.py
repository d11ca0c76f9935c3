"""The recommendation after training: which rung, in which words, with which commands."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.frozen import LeftOut
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.recommending import Measured, Recommendation, commands_of, recommend, without_held_out

COMMANDS = {name: (f"make {name}", "classify") for name in ("start model", "prototypes", "probe", "full, trained")}

PLANTS = tuple(f"plant {number}" for number in range(50))


def right(count: int, of: int = 60) -> NDArray[np.bool_]:
    return np.arange(of) < count


def recommended(left_out: LeftOut | None = None, of: int = 60, **right_of: int) -> Recommendation:
    names = {"start": "start model", "full": "full, trained"}
    rungs = [Measured(names.get(name, name), right(count, of)) for name, count in right_of.items()]
    groups = [f"track {number}" for number in range(of)]
    return recommend(rungs, Evidence.of("dev", groups), np.arange(of), COMMANDS, left_out)


def test_the_cheapest_rung_that_cannot_be_told_from_the_best_is_used() -> None:
    found = recommended(start=20, prototypes=35, probe=52, full=54)
    assert (found.rung, found.commands) == ("probe", COMMANDS["probe"])
    assert found.sentence == (
        "Use the probe: 87% right of 60 images in 60 groups of dev, trained model 90%, which these images cannot tell apart."
    )


def test_the_trained_model_is_used_if_it_is_better_by_more_than_chance() -> None:
    found = recommended(start=20, prototypes=30, probe=35, full=55)
    assert found.rung == "full, trained"
    assert found.sentence == (
        "Use the trained model: 92% right of 60 images in 60 groups of dev; cheaper ways are worse by more than chance (probe 58%)."
    )


def test_the_start_is_used_if_nothing_is_better() -> None:
    found = recommended(start=50, prototypes=30, probe=45)
    assert found.rung == "start model"
    assert found.sentence == (
        "Use the start model: 83% right of 60 images in 60 groups of dev; it is the cheapest way, and no other is better (probe 75%)."
    )


def test_images_of_one_track_are_one_observation() -> None:
    rungs = [Measured("start model", right(30)), Measured("probe", right(54))]
    one_each, six_each = np.arange(60), np.arange(60) // 2
    evidence = [Evidence.of("dev", group_N.tolist()) for group_N in (one_each, six_each)]
    assert all(found.can_choose for found in evidence)
    few = Evidence.of("dev", (np.arange(60) // 12).tolist())
    assert recommend(rungs, evidence[0], one_each, COMMANDS, None).rung == "probe"
    assert "too few to choose a way to retrain" in recommend(rungs, few, np.arange(60) // 12, COMMANDS, None).sentence


def test_with_a_small_dev_nothing_is_chosen_and_the_start_is_the_safe_default() -> None:
    found = recommended(of=3, start=0, prototypes=3, probe=3, full=3)
    assert found.rung == "start model"
    assert found.sentence == (
        "3 images in 3 groups of dev are too few to choose a way to retrain. The safe default is the start model: unchanged, it "
        "cannot be worse than before."
    )


@pytest.mark.parametrize(
    ("probe", "start", "rung", "said"),
    [
        (40, 10, "probe", "the probe is right for 80% and the start model for 20%: the probe is better by 60 points, more than chance"),
        (40, 38, "start model", "right for 80% and the start model for 76%: the probe is better by 4 points, which may be chance"),
        (2, 15, "start model", "right for 4% and the start model for 30%: the start model is better by 26 points, more than chance"),
        (14, 15, "start model", "right for 28% and the start model for 30%: the start model is better by 2 points, which may be chance"),
        (15, 15, "start model", "the probe and the start model are both right for 30%"),
    ],
)  # fmt: skip
def test_with_a_small_dev_left_out_images_of_train_decide_on_the_probe(
    probe: int, start: int, rung: str, said: str
) -> None:
    left_out = LeftOut(right(probe, 50), right(start, 50), PLANTS, is_new_to_start=True)
    found = recommended(left_out, of=3, start=3, prototypes=3, probe=0, full=3)
    assert found.rung == rung
    assert f"The safe default is the {rung}: " in found.sentence
    assert " Of 50 images in 50 groups of train that neither learnt from, the probe " in found.sentence
    assert found.sentence.endswith(f"{said}.")


@pytest.mark.parametrize(
    ("probe", "start", "rung", "said"),
    [
        (46, 47, "start model", "this says nothing against the probe."),
        (10, 47, "start model", "this says nothing against the probe."),
        (47, 10, "probe", "it is the better one all the same, by more than chance."),
    ],
)
def test_images_that_the_start_may_have_learnt_from_do_not_speak_against_the_probe(
    probe: int, start: int, rung: str, said: str
) -> None:
    found = recommended(LeftOut(right(probe, 50), right(start, 50), PLANTS), of=3, start=3, probe=3, full=3)
    assert found.rung == rung
    assert "neither" not in found.sentence
    assert (
        f" Of 50 images in 50 groups of train that the probe did not learn from, the probe is right for {2 * probe}% and the start "
        f"model for {2 * start}%. Whether the start model learnt from them is not known: {said}"
    ) in found.sentence


def test_images_that_the_start_learnt_from_are_no_evidence() -> None:
    nothing = LeftOut(right(0, 0), right(0, 0), (), is_new_to_start=True, learnt=50)
    found = recommended(nothing, of=3, start=3, probe=3, full=3)
    assert found.rung == "start model"
    assert found.sentence.endswith(
        "The start model learnt from all images of train that could tell if a probe is better, so that is not known."
    )
    some = LeftOut(right(40, 50), right(10, 50), PLANTS, is_new_to_start=True, learnt=7)
    found = recommended(some, of=3, start=3, probe=3, full=3)
    assert found.rung == "probe"
    assert found.sentence.endswith(" The start model learnt from 7 images of train that are left out of this.")


@pytest.mark.parametrize(
    ("images", "is_random", "is_replayed", "rung", "said"),
    [
        (5, False, False, "prototypes", "Use the prototypes first: they are made for 1 to 10 images per taxon (here 1)."),
        (500, False, False, "start model", "Use the start model first: unchanged, it cannot be worse than before."),
        (5, False, True, "start model", "Whether the trained model is better is not known."),
        (5, True, False, "full, trained", "the trained model, unmeasured, is the default."),
    ],
)  # fmt: skip
def test_without_held_out_images_nothing_is_measured_and_the_unchanged_model_comes_first(
    images: int, is_random: bool, is_replayed: bool, rung: str, said: str
) -> None:
    found = without_held_out(5, images, "full, trained", COMMANDS, is_random=is_random, is_replayed=is_replayed)
    assert (found.rung, found.commands) == (rung, COMMANDS[rung])
    assert found.sentence.startswith("Nothing could be measured: dev has no usable image.")
    assert said in found.sentence


def test_from_random_weights_the_trained_model_is_the_only_rung() -> None:
    assert recommended(full=40).rung == "full, trained"
    assert recommended(of=2, full=1).rung == "full, trained"


def test_commands_are_quoted_and_state_what_differs_from_the_defaults(tmp_path: Path) -> None:
    config = TrainConfig(
        data="my birds/c.parquet", start="local-dir:old model", output=str(tmp_path / "new model"), dev_fraction=0.2, device="cpu",
        replace_prefix=("/old disk=photos",),
    )  # fmt: skip
    commands = commands_of(config, "full, trained", is_capped=True)
    probe, classify = (shlex.split(text) for text in commands["probe"])
    assert probe == [
        "bioclip-plugin", "probe", "build", "--data", "my birds/c.parquet", "--model", "local-dir:old model", "--output",
        str(tmp_path / "new model_probe"), "--device", "cpu", "--replace-prefix", "/old disk=photos", "--dev-fraction", "0.2",
    ]  # fmt: skip
    assert classify[-4:] == ["--labels", str(tmp_path / "new model_probe"), "--device", "cpu"]
    assert shlex.split(commands["prototypes"][0])[-2:] == ["--most-examples", "20000"]
    assert shlex.split(commands["full, trained"][0])[-1] == f"local-dir:{tmp_path / 'new model'}"
    assert shlex.split(commands["start model"][0])[:4] == ["bioclip-plugin", "labels", "build", "my birds/c.parquet"]


def test_an_output_that_exists_gets_another_name(tmp_path: Path) -> None:
    (tmp_path / "m_probe").mkdir()
    config = TrainConfig(data="c.parquet", start="demo", output=str(tmp_path / "m"))
    assert f"{tmp_path / 'm_probe-2'}" in commands_of(config, None, is_capped=False)["probe"][0]
