"""The plan of a training run: its counts, its measurement that changes nothing, and refusals before the first step."""

from __future__ import annotations

import gc
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from collections_of_discs import TAXA, TINY, make_catalog, tiny_config

from bioclip_core.errors import BioclipError, DataError, UsageError
from bioclip_training.loop import checkpoint, measuring, planning
from bioclip_training.loop.differences import allowed_differences, refused_differences
from bioclip_training.loop.plan_record import TrainingPlan, _passes
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainingStopped
from bioclip_training.loop.run import plan_training, train
from bioclip_training.loop.trainer import Trainer

RESNET = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
        "text_cfg": TINY["model_cfg"]["text_cfg"],
    }
}
GB = 10**9


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("discs"))


@pytest.fixture
def config(catalog: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data=str(catalog), start=tiny_config(tmp_path), output=str(tmp_path / "model"), steps=4, batch_size=8,
        learning_rate=2e-3, warmup=2, validate_every=2, save_every=2, workers=1, device="cpu", precision="fp32",
    )  # fmt: skip


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stopped_after(config: TrainConfig, step: int) -> None:
    """Train until a step is done, and no further."""
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train(replace(config, tell=lambda p: steps.append(p.step), should_stop=lambda: step in steps), {})


# The measurement


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_measured_run_and_one_that_is_not_end_with_the_same_bytes(
    kind: str, config: TrainConfig, tmp_path: Path
) -> None:
    """Statistics of batch norms, the running average and the features of a locked tower are state that a step leaves."""
    (tmp_path / "resnet.json").write_text(json.dumps(RESNET), "utf-8")
    if kind == "vit":
        config = replace(config, drop_path=0.2, average=0.9, lock_text=True)
    else:
        config = replace(config, start=f"new:{tmp_path / 'resnet.json'}")
    plain = replace(config, output=str(tmp_path / "plain"), measure=False)
    plan_training(config, {})
    for run in (plain, config):
        stopped_after(run, 3)
    folders = [Path(run.output) for run in (plain, config)]
    assert _same(*(torch.load(folder / "training/state-00000003.pt", weights_only=True) for folder in folders))
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in folders]
    one, other = ([{**json.loads(line), "samples_per_s": 0} for line in part] for part in lines)
    assert one == other


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def test_a_plan_makes_no_folder_and_changes_nothing_of_the_caller(config: TrainConfig) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    plan_training(config, {})
    assert torch.equal(torch.rand(3), expected)
    assert not Path(config.output).exists()


def test_the_first_step_warms_up_and_is_not_measured(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    own, slow = measuring._step, iter([0.5])

    def step(*given: Any) -> None:
        measuring.time.sleep(next(slow, 0.0))
        own(*given)

    monkeypatch.setattr(measuring, "_step", step)
    plan = plan_training(config, {})
    assert plan.speed is not None
    assert plan.speed.slowest_s < 0.4
    assert plan.speed.samples_per_s == pytest.approx(8 / plan.speed.step_s)


def test_a_single_long_step_is_measurement_enough() -> None:
    assert not measuring._is_enough([])
    assert not measuring._is_enough([1.0])
    assert measuring._is_enough([30.0])
    assert measuring._is_enough([9.0, 9.0])
    assert measuring._is_enough([0.1] * 6)


def test_a_wish_to_stop_ends_the_measurement(config: TrainConfig) -> None:
    asked = replace(config, should_stop=lambda: True)
    assert plan_training(asked, {}).speed is None
    with pytest.raises(TrainingStopped, match="stopped after step 0 of 4; its state is saved"):
        train(asked, {})


def test_a_measurement_that_fails_leaves_no_gradient_and_no_changed_weight(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(measuring, "back_propagate", refuse)
    plan = plan_training(config, {})
    assert plan.speed is None
    assert "out of memory with 8 images at once; 4 fit" in plan.problems[0]


# Counts


def test_the_plan_counts_data_work_and_the_long_tail(config: TrainConfig, tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "tail", each=4, val=1)
    plan = plan_training(replace(config, data=str(catalog), dev_fraction=0.3, batch_size=6, steps=9), {})
    train_part, dev, val = plan.parts
    assert [part.name for part in plan.parts] == ["train", "dev", "val"]
    assert (train_part.images + dev.images, val.images, val.taxa) == (18, 6, 6)
    assert (train_part.images, dev.groups) == (plan.images, dev.images), "each image is a group of its own"
    assert plan.taxa is not None
    assert plan.taxa.with_1 + plan.taxa.with_2_to_9 == 6
    assert plan.taxa.most <= 3
    assert plan.epochs == pytest.approx(54 / plan.images)
    assert plan.validations == 6, "the start, the steps 2, 4, 6 and 8, and the last one"
    assert plan.state == "new"
    assert json.loads(plan.as_json())["steps"] == 9
    text = "\n".join(plan.lines())
    for expected in ("Ctrl-C or SIGTERM saves the state", "samples/s, measured in", "Device: cpu, fp32 (as requested)"):
        assert expected in text


def test_the_time_to_the_end_has_the_validations_and_the_comparison_in_it(config: TrainConfig) -> None:
    time = plan_training(config, {}).time
    assert time is not None
    assert time.about_s == pytest.approx(time.steps_s + time.validations_s + time.ending_s)
    assert min(time.steps_s, time.validations_s, time.ending_s) > 0
    assert time.low_s < time.about_s < time.high_s


def test_a_batch_that_is_larger_than_the_collection_is_remarked(config: TrainConfig) -> None:
    (remark,) = [text for text in plan_training(replace(config, batch_size=100), {}).remarks if "batch" in text]
    assert remark.startswith("A batch of 100 is more than the ")
    assert "--batch-size" in remark


def test_unreadable_images_of_the_measured_steps_are_remarked_and_listed_nowhere(
    config: TrainConfig, tmp_path: Path
) -> None:
    catalog = make_catalog(tmp_path / "bad", val=0)
    for taxon in TAXA:
        (catalog.parent / f"{taxon.genus}-{taxon.species}-1.png").unlink()
    plan = plan_training(replace(config, data=str(catalog), batch_size=30), {})
    assert any("cannot be read; the first is" in text for text in plan.remarks)
    assert not Path(config.output).exists()


# Earlier parts of a run


def test_a_plan_of_an_unfinished_run_says_what_is_left_and_touches_nothing(config: TrainConfig) -> None:
    long = replace(config, steps=40, validate_every=20, save_every=20)
    whole = plan_training(long, {})
    stopped_after(long, 30)
    before = content(Path(config.output))
    plan = plan_training(long, {})
    assert content(Path(config.output)) == before
    assert (plan.state, plan.step, plan.steps, plan.validations) == ("unfinished", 30, 40, 1)
    assert "; 10 are left" in "\n".join(plan.lines())
    assert plan.time is not None
    assert whole.time is not None
    assert plan.speed is not None
    assert plan.time.steps_s == pytest.approx(10 * plan.speed.step_s, rel=0.5), "only the steps that are left take time"


def test_a_state_that_is_cut_off_is_not_what_a_plan_counts_on(config: TrainConfig) -> None:
    stopped_after(replace(config, steps=40), 3)
    (Path(config.output) / "training/state-00000003.pt").write_bytes(b"PK cut off")
    assert plan_training(replace(config, steps=40), {}).step == 2
    assert (Path(config.output) / "training/state-00000003.pt").exists()


def test_a_plan_of_a_finished_run_says_so_and_of_one_without_its_end_what_is_left(config: TrainConfig) -> None:
    train(config, {})
    before = content(Path(config.output))
    plan = plan_training(config, {})
    assert content(Path(config.output)) == before
    assert (plan.state, plan.step) == ("finished", 4)
    assert plan.lines() == [f"The run in {config.output} is finished: 4 steps are done. The same command does nothing."]
    (Path(config.output) / "training/result.json").unlink()  # killed while the methods were compared
    plan = plan_training(config, {})
    assert (plan.state, plan.step, plan.validations) == ("unfinished", 4, 0)
    assert plan.time is not None
    assert plan.time.steps_s == 0
    assert plan.time.ending_s > 0


def test_other_settings_are_named_by_their_options_in_a_plan_as_in_a_run(config: TrainConfig) -> None:
    stopped_after(config, 1)
    other = replace(config, learning_rate=0.1, seed=3)
    for begin in (plan_training, train):
        with pytest.raises(DataError, match=r"--learning-rate was 0.002 and is now 0.1; --seed was 0 and is now 3\. "):
            begin(other, {})  # type: ignore[operator]


def test_a_resumed_run_says_where_it_goes_on_and_what_differs(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(config, 1)
    monkeypatch.setattr("bioclip_training.loop.run._version", lambda name: f"another {name}")
    heard: list[str] = []
    with pytest.raises(TrainingStopped):
        train(replace(config, workers=2, tell=lambda p: heard.append(p.message), should_stop=lambda: True), {})
    assert "--workers was 1 and is now 2 (changes the speed only)" in heard
    assert any(text.startswith("torch was ") and "last bits" in text for text in heard)
    assert "going on after step 1 of 4" in heard


def test_a_resumed_run_with_the_same_settings_says_nothing_of_a_difference(config: TrainConfig) -> None:
    stopped_after(config, 1)
    heard: list[str] = []
    again = replace(config, tell=lambda p: heard.append(p.message), should_stop=lambda: True)
    with pytest.raises(TrainingStopped):
        train(again, {})
    assert not [text for text in heard if " is now " in text]


def test_a_refused_setting_names_the_value_that_was_used_even_if_it_was_chosen_automatically() -> None:
    was = {"config": {"learning_rate": None, "steps": None}, "learning_rate": 0.00104, "steps": 300}
    now = {"config": {"learning_rate": 0.001, "steps": 200}, "learning_rate": 0.001, "steps": 200}
    found = refused_differences(was, now)
    assert "--learning-rate was 0.00104 (chosen automatically) and is now 0.001" in found
    assert "--steps was 300 (chosen automatically) and is now 200" in found


def test_settings_are_compared_as_their_file_gives_them_back_and_a_reason_is_no_difference() -> None:
    was = {
        "run": {"replace_prefix": [], "betas": [0.9, 0.98]},
        "made_with": {"device": "cpu, bf16 (this CPU has it)"},
    }
    now = {
        "run": {"replace_prefix": (), "betas": (0.9, 0.98)},
        "made_with": {"device": "cpu, bf16 (as recorded by it)"},
    }
    assert refused_differences(was, now) == allowed_differences(was, now) == []
    other = {**now, "made_with": {"device": "cuda, bf16 (as recorded by it)"}}
    assert len(allowed_differences(was, other)) == 1


@pytest.mark.parametrize(
    ("given", "remark"),
    [
        ({"learning_rate": 0.0}, "--learning-rate 0 changes no weights"),
        ({"warmup": 5000}, "--warmup 5000 is not shorter than the run of 4 steps"),
        ({"warmup": 4}, "--warmup 4 is not shorter"),
        ({}, ""),
    ],
)
def test_a_rate_that_teaches_nothing_is_remarked_in_the_plan(
    config: TrainConfig, given: dict[str, Any], remark: str
) -> None:
    remarks = plan_training(replace(config, **given), {}).remarks
    found = [text for text in remarks if text.startswith(("--learning-rate", "--warmup"))]
    assert [text.startswith(remark) for text in found] == ([True] if remark else [])


def test_many_passes_are_a_plain_number() -> None:
    assert [_passes(number) for number in (0.25, 1, 20, 1600, 12345.6)] == [
        "0.25 passes", "1 pass", "20 passes", "1,600 passes", "12,346 passes",
    ]  # fmt: skip


def test_a_collection_that_moved_is_the_same_one_and_another_one_is_not(config: TrainConfig, tmp_path: Path) -> None:
    """A job of a cluster is begun in one folder and continued in another."""
    stopped_after(config, 1)
    moved = shutil.copytree(Path(config.data).parent, tmp_path / "moved") / "catalog.parquet"
    stopped_after(replace(config, data=str(moved)), 2)
    other = make_catalog(tmp_path / "other", each=7)
    with pytest.raises(DataError, match="the content of --data was '"):
        train(replace(config, data=str(other)), {})


def test_a_run_that_older_software_began_goes_on_without_its_newer_options(config: TrainConfig) -> None:
    stopped_after(config, 1)
    settings = Path(config.output) / "training/settings.json"
    stored = json.loads(settings.read_text())
    del stored["config"]["measure"], stored["config"]["spike"]
    settings.write_text(json.dumps(stored))
    stopped_after(config, 2)


# Refusals before the first step


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_too_small_is_named_by_the_plan_and_refused_before_the_folder_is_made(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 1000))
    plan = plan_training(config, {})
    assert plan.problems[0].startswith(
        f"{config.output}: 1 kB are free, and this run's states and checkpoint need about "
    )
    with pytest.raises(BioclipError, match="1 kB are free"):
        train(config, {})
    assert not Path(config.output).exists()


def test_states_that_are_written_already_need_no_further_space(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, steps=8)
    plan = plan_training(config, {})
    stopped_after(config, 3)
    assert plan.disk is not None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, plan.disk.needed - plan.disk.state))  # type: ignore[union-attr]
    stopped_after(config, 4)


def test_the_files_of_a_run_stay_below_the_planned_space(config: TrainConfig) -> None:
    config = replace(config, steps=8)
    plan = plan_training(config, {})
    most = 0

    def look(_: TrainingProgress) -> None:
        nonlocal most
        most = max(most, sum(path.stat().st_size for path in Path(config.output).rglob("*") if path.is_file()))

    with pytest.raises(TrainingStopped):
        train(replace(config, tell=look, should_stop=lambda: bool(list(Path(config.output).rglob("state-*4.pt")))), {})
    assert plan.disk is not None
    assert 0.2 * plan.disk.needed < most < plan.disk.needed


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    below = replace(config, output=str(tmp_path / "file" / "model"))
    assert "is a file, not a folder" in plan_training(below, {}).problems[0]
    with pytest.raises(BioclipError, match="is a file, not a folder; give another folder"):
        train(below, {})
    monkeypatch.setattr(checkpoint.os, "access", lambda *_: False)
    with pytest.raises(BioclipError, match="cannot be written by this user"):
        train(config, {})
    assert not Path(config.output).exists()


def test_a_step_that_the_memory_cannot_hold_is_refused_before_it_is_tried(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the system kills the process instead of refusing memory, so nobody could say what would fit."""
    plan = plan_training(config, {})
    assert plan.memory is not None
    assert plan.memory.at_once == 8
    monkeypatch.setattr(measuring, "used_bytes", lambda: 0)
    monkeypatch.setattr(measuring, "_kept_for_images", lambda _: (0, GB))
    monkeypatch.setattr(measuring, "available_bytes", lambda: 5 * GB)
    monkeypatch.setattr(measuring, "_step", lambda *_: pytest.fail("tried"))
    said = r"a step with 8 images at once needs about 8.0 GB of memory, and 5.0 GB are available; about 4 images at once fit"
    with pytest.raises(BioclipError, match=said) as refused:
        train(config, {})
    ways = "--accumulate 2 (the negatives stay those of the whole batch), or --batch-size 4"
    assert f"{ways}, or --gradient-checkpointing" in str(refused.value)
    # The way out is not the option that is given already, and it can be taken in the folder of the refused run.
    with pytest.raises(BioclipError, match=r"--batch-size 4$"):
        train(replace(config, gradient_checkpointing=True), {})
    plan = plan_training(config, {})
    assert plan.problems == (str(refused.value),)
    assert plan.lines()[-1].startswith("Does not work: a step with 8 images")


def test_checkpointing_that_has_no_effect_is_remarked_and_not_advised(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet = replace(config, start="new:small")
    monkeypatch.setattr(measuring, "available_bytes", lambda: 0)
    monkeypatch.setattr(measuring, "used_bytes", lambda: 0)
    monkeypatch.setattr(measuring, "_kept_for_images", lambda _: (0, 1))
    monkeypatch.setattr(measuring, "_measure_steps", lambda *_: pytest.fail("tried"))
    plan = plan_training(replace(resnet, gradient_checkpointing=True), {})
    (remark,) = [text for text in plan.remarks if "checkpointing" in text]
    assert remark.startswith("--gradient-checkpointing has no effect on the vision tower (ModifiedResNet)")
    assert not any("checkpointing" in text for text in (*plan_training(resnet, {}).remarks, *plan.problems))


def test_a_cache_that_the_memory_cannot_hold_is_remarked_with_one_that_fits(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_decoded_later", lambda *_: 3 * GB)
    monkeypatch.setattr(measuring, "available_bytes", lambda: 2 * GB)
    (remark,) = [text for text in plan_training(replace(config, cache_mb=4000), {}).remarks if "memory" in text]
    assert remark.startswith("The memory will not last: ")
    smaller = int(remark.split("--cache-mb ")[1].split()[0])
    assert 0 <= smaller < 4000


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_of_a_batch_is_that_of_its_images_and_what_is_kept_once(
    precision: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 a pass keeps a copy of the weights, which does not grow with the batch."""
    found = []

    def look(trainer: Trainer, _: measuring.Measured) -> None:
        found.append((measuring._kept(trainer, 6), measuring._kept_for_images(trainer)))

    monkeypatch.setattr(measuring, "refuse_too_large", look)
    plan_training(replace(config, precision=precision), {})  # type: ignore[arg-type]
    ((kept, (once, per_image)),) = found
    assert kept == pytest.approx(once + 6 * per_image, rel=0.1)
    assert per_image > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_counting_the_memory_of_images_keeps_none_of_it(
    checkpointing: bool, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def look(trainer: Trainer, _: measuring.Measured) -> None:
        before = tensors()
        measuring._kept(trainer, 4)
        found.append(tensors() - before)

    monkeypatch.setattr(measuring, "refuse_too_large", look)
    plan_training(replace(config, gradient_checkpointing=checkpointing), {})
    assert found == [0]


def test_the_lines_of_a_plan_need_no_measurement() -> None:
    bare = TrainingPlan(
        output=Path("x"), state="new", step=0, steps=3, batch_size=2, replay_batch_size=0, processes=1, parts=(), taxa=None,
        replay_images=0, validations=0, save_every=1, device="cpu", precision="fp32", compute_reason="as requested", threads=1,
        decoding_threads=1,
    )  # fmt: skip
    assert bare.epochs == 0
    assert any("saved after each step" in line for line in bare.lines())


@pytest.mark.parametrize(
    "given",
    [{"steps": "2"}, {"epochs": "abc"}, {"learning_rate": "1e-3"}, {"start": None}, {"data": None}, {"output": None}, {"tell": "x"},
     {"batch_size": 8.5}, {"captions": "taxonomic"}, {"replace_prefix": "old=new"}],
)  # fmt: skip
def test_a_recipe_with_a_value_of_another_type_is_refused_by_the_fields_name(given: dict[str, Any]) -> None:
    name, value = next(iter(given.items()))
    with pytest.raises(UsageError, match=rf"^{name} {value!r}: must be "):
        TrainConfig(**{"data": "c.parquet", "start": "demo", "output": "m", **given})
