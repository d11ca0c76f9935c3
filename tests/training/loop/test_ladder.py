"""Rungs of the ladder, worked out by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from collections_of_discs import TAXA, make_catalog, tiny_config
from safetensors.torch import load_file

from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.run import evaluate
from bioclip_training.loop.ladder import Rung, chosen_share, interpolated
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.run import train


def test_interpolation_goes_straight_from_old_to_new_weights() -> None:
    old, new = (
        {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([1.0, 4.0]), "n": torch.tensor(5)},
    )
    assert interpolated(old, new, 0.25)["w"].tolist() == [0.25, 2.5]
    assert interpolated(old, new, 0.25)["n"].item() == 5  # a counter is not a weight
    assert interpolated(old, new, 0.0)["w"].tolist() == [0.0, 2.0]


def rung(top1: float, nll: float, old: float | None = None) -> Rung:
    return Rung("", 10, top1, (0.0, 1.0), nll, old)


def test_the_most_accurate_interpolation_is_kept_and_among_equals_the_likelier_one() -> None:
    assert (
        chosen_share({0.0: rung(0.2, 3.0), 0.5: rung(0.8, 0.9), 0.9: rung(0.8, 0.7), 1.0: rung(0.7, 0.6)}, None) == 0.9
    )


def test_with_replay_a_twentieth_of_the_old_accuracy_may_be_lost() -> None:
    rungs = {0.0: rung(0.1, 3.0, 0.60), 0.5: rung(0.6, 1.0, 0.58), 0.8: rung(0.7, 1.0, 0.57), 1.0: rung(0.9, 0.5, 0.50)}
    assert chosen_share(rungs, 0.60) == 0.8  # 0.57 is 95% of it
    assert (
        chosen_share({0.5: rung(0.6, 1.0, 0.4), 1.0: rung(0.9, 0.5, 0.2)}, 0.60) == 1.0
    )  # all lose more than allowed: 1.0 against 1.1


def test_a_fine_tuned_model_is_compared_with_cheaper_rungs_and_with_its_start(tmp_path: Path) -> None:
    old = make_catalog(tmp_path / "old", taxa=TAXA[:4])
    new = make_catalog(tmp_path / "new", taxa=TAXA[4:], each=20)
    config = TrainConfig(
        data=str(old), start=tiny_config(tmp_path), output=str(tmp_path / "base"), steps=30, batch_size=16, learning_rate=3e-3, workers=1,
        device="cpu", precision="fp32", dev_fraction=0.2,
    )  # fmt: skip
    train(config, {})
    tuned = replace(
        config,
        data=str(new),
        replay=str(old),
        start=f"local-dir:{config.output}",
        output=str(tmp_path / "tuned"),
        steps=8,
    )
    result = train(tuned, {})
    ladder = json.loads((tmp_path / "tuned" / "ladder.json").read_text("utf-8"))
    names = [rung["name"] for rung in ladder["rungs"]]
    assert names[:4] == [
        "start model",
        "prototypes",
        "probe",
        "full, trained",
    ]
    assert ladder["rungs"][0]["top1"] == pytest.approx(result.start_dev_top1)
    assert ladder["kept"] in names
    assert all(low <= rung["top1"] <= high for rung in ladder["rungs"] for low, high in [rung["top1_ci95"]])
    assert ladder["old_evidence"]["images"] == ladder["old_evidence"]["groups"] > 0, "the number behind old_top1"
    if ladder["old_evidence"]["groups"] < 20:
        assert ladder["share_of_trained_weights"] in (0.0, 1.0), (
            "too few to choose an interpolation that keeps the old taxa"
        )
        assert "dev of --replay" in ladder["rule"] or not ladder["evidence"]["can_choose"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Recipe of a run that begins with a model which knows colours and sizes of discs a little."""
    folder = tmp_path_factory.mktemp("base")
    catalog = make_catalog(folder / "discs", each=20)
    config = TrainConfig(
        data=str(catalog), start=tiny_config(folder), output=str(folder / "base"), steps=40, batch_size=16, learning_rate=3e-3,
        workers=1, device="cpu", precision="fp32", dev_fraction=0.3,
    )  # fmt: skip
    train(config, {})
    return replace(config, start=f"local-dir:{config.output}")


@pytest.mark.parametrize("wise_ft", [True, False])
def test_training_that_harms_is_shown_as_measured_and_the_start_is_kept(
    tmp_path: Path, base: TrainConfig, wise_ft: bool
) -> None:
    harmful = replace(
        base,
        output=str(tmp_path / "harmed"),
        steps=6,
        learning_rate=1.0,
        trunk_rate=1.0,
        warmup=0,
        spike=0,
        wise_ft=wise_ft,
    )
    result = train(harmful, {})
    ladder = json.loads((tmp_path / "harmed" / "ladder.json").read_text("utf-8"))
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    assert rungs["full, trained"]["top1"] < rungs["start model"]["top1"] - 0.2
    assert (ladder["kept"], ladder["share_of_trained_weights"], result.best_step) == ("start model", 0.0, 0)
    assert result.dev_top1 == result.start_dev_top1 == rungs["start model"]["top1"]
    start, kept = (
        load_file(Path(folder) / "open_clip_model.safetensors") for folder in (base.start[10:], harmful.output)
    )
    assert all(torch.equal(start[name], kept[name]) for name in start)
    assert "trained" not in ladder["recommendation"]["rung"]
    assert result.recommendation == ladder["recommendation"]["sentence"]
    card = (tmp_path / "harmed" / "README.md").read_text("utf-8")
    assert result.recommendation in card
    assert all(text in card for text in result.commands)


def test_training_that_helps_is_kept_and_recommended(tmp_path: Path, base: TrainConfig) -> None:
    ignorant = replace(base, output=str(tmp_path / "ignorant"), start=tiny_config(tmp_path), steps=1)
    train(ignorant, {})
    helpful = replace(base, start=f"local-dir:{ignorant.output}", output=str(tmp_path / "helped"), steps=60)
    result = train(replace(helpful, trunk_rate=1.0), {})
    ladder = json.loads((tmp_path / "helped" / "ladder.json").read_text("utf-8"))
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    assert rungs[ladder["kept"]]["top1"] > rungs["start model"]["top1"] + 0.2
    assert result.dev_top1 == rungs[ladder["kept"]]["top1"]
    assert rungs["start model"]["commands"][1].startswith("bioclip-plugin classify PATHS --model local-dir:")
    assert ladder["recommendation"]["rung"] != "start model"


def test_the_report_of_an_evaluation_shows_the_ladder_of_the_models_training(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "discs")
    config = TrainConfig(
        data=str(catalog), start=tiny_config(tmp_path), output=str(tmp_path / "model"), steps=4, batch_size=8, workers=1, device="cpu",
    )  # fmt: skip
    train(config, {})
    found = evaluate(
        EvaluationConfig(
            str(catalog), f"local-dir:{config.output}", str(tmp_path / "report"), device="cpu", few_shot=False
        )
    )
    assert [rung["name"] for rung in found["ladder"]["rungs"]] == ["full, trained"]
    assert "Ways to retrain, from the cheapest" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_below_the_minimum_of_groups_nothing_is_chosen_and_every_figure_says_its_number(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "discs", each=6, val=1)
    said: list[str] = []
    config = TrainConfig(
        data=str(catalog), start=tiny_config(tmp_path), output=str(tmp_path / "base"), steps=4, batch_size=8, workers=1, device="cpu",
        precision="fp32", dev_fraction=0.2, validate_every=1,
    )  # fmt: skip
    train(config, {})
    small = replace(
        config,
        start=f"local-dir:{config.output}",
        output=str(tmp_path / "small"),
        tell=lambda step: said.append(step.message or step.stage),
    )
    result = train(small, {})
    ladder = json.loads((tmp_path / "small" / "ladder.json").read_text("utf-8"))
    groups = ladder["evidence"]["groups"]
    assert 1 < groups < 20
    assert (result.best_step, ladder["kept"], ladder["share_of_trained_weights"]) == (4, "full, trained", 1.0)
    assert not [rung for rung in ladder["rungs"] if "WiSE" in rung["name"]]
    assert {(rung["images"], rung["groups"]) for rung in ladder["rungs"]} == {(groups, groups)}
    assert (result.dev_images, result.dev_groups) == (groups, groups)
    rule = f"fewer than 20 independent groups in dev ({groups} images in {groups} groups): nothing is chosen on it"
    assert result.rule.startswith(rule)
    assert ladder["rule"] == result.rule
    card = (tmp_path / "small" / "README.md").read_text("utf-8")
    assert result.rule in card
    before_the_first_step = said[: next(place for place, line in enumerate(said) if line == "")]
    assert any(line.startswith(rule) for line in before_the_first_step)
    assert (
        f"val: 6 images in 6 groups: as a rule of thumb, differences under {100 * 6 / 6:.0f} points cannot be seen"
        in before_the_first_step
    )


def test_weights_that_are_worse_by_more_than_chance_are_not_kept_even_on_few_groups(
    tmp_path: Path, base: TrainConfig
) -> None:
    harmful = replace(
        base, output=str(tmp_path / "harmed"), steps=4, learning_rate=1.0, trunk_rate=1.0, warmup=0, spike=0, dev_fraction=0.15,
    )  # fmt: skip
    result = train(harmful, {})
    ladder = json.loads((tmp_path / "harmed" / "ladder.json").read_text("utf-8"))
    assert ladder["evidence"]["groups"] < 20
    assert ladder["kept"] == "start model"
    assert "worse than the start by more than chance" in result.rule


@pytest.mark.parametrize(
    ("own_list", "said"), [(True, " images of train that are left out of this."), (False, "is not known: ")]
)
def test_the_start_is_not_compared_on_images_that_it_learnt_from(
    tmp_path: Path, base: TrainConfig, own_list: bool, said: str
) -> None:
    start = Path(shutil.copytree(base.output, tmp_path / "start"))
    if not own_list:
        (start / "training" / "trained_on.npz").unlink()
    few = replace(base, start=f"local-dir:{start}", output=str(tmp_path / "few"), steps=1, dev_fraction=0.1)
    result = train(few, {})
    assert "too few to choose a way to retrain. The safe default is" in result.recommendation
    assert said in result.recommendation
    assert own_list or "neither" not in result.recommendation


def test_dev_images_that_the_start_learnt_from_are_counted_before_the_run_and_with_its_result(
    tmp_path: Path, base: TrainConfig
) -> None:
    catalog = Catalog.open(base.data)
    learnt = set(catalog.rows_of("train", dev_fraction=base.dev_fraction).tolist())
    dev = catalog.rows_of("dev", dev_fraction=0.5).tolist()
    count = len(learnt & set(dev))
    assert 0 < count < len(dev)
    said: list[str] = []
    other = replace(
        base, output=str(tmp_path / "other"), steps=1, dev_fraction=0.5, tell=lambda step: said.append(step.message)
    )
    result = train(other, {})
    line = f"the start model learnt from {count} of the {len(dev)} images of dev, or from others of their groups"
    assert [text.startswith(line) for text in said].count(True) == 1
    assert line in result.rule
    assert line in (tmp_path / "other" / "README.md").read_text("utf-8")
    assert "learnt from" not in train(replace(base, output=str(tmp_path / "same"), steps=1), {}).rule


def test_without_dev_images_the_unmeasured_model_is_not_recommended(tmp_path: Path, base: TrainConfig) -> None:
    result = train(replace(base, output=str(tmp_path / "all"), steps=1, dev_fraction=0.0), {})
    ladder = json.loads((tmp_path / "all" / "ladder.json").read_text("utf-8"))
    assert (ladder["rungs"], ladder["recommendation"]["rung"]) == ([], "start model")
    assert result.recommendation.startswith(
        "Nothing could be measured: dev has no usable image. Use the start model first"
    )
    assert result.commands[-1].startswith(f"bioclip-plugin classify PATHS --model {base.start} --labels ")
    assert result.recommendation in (tmp_path / "all" / "README.md").read_text("utf-8")
