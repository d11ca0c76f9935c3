"""Training runs from start to end: their results, and that an interrupted run ends like an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from collections_of_discs import TAXA, make_catalog, tiny_config
from ready_processes import Ready
from safetensors.torch import load_file

from bioclip_core.device import PRECISION_VARIABLE
from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_plugin import Session
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import dev_fraction_of
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainingStopped
from bioclip_training.loop.run import train
from bioclip_training.loop.trainer import Best
from bioclip_training.loop.validation import Validation
from bioclip_training.towers.model import Towers

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_config(tmp_path_factory.mktemp("config"))


@pytest.fixture
def config(catalog: Path, start: str, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data=str(catalog), start=start, output=str(tmp_path / "model"), steps=12, batch_size=12, learning_rate=2e-3, warmup=2,
        validate_every=4, save_every=4, workers=1, device="cpu", precision="fp32", measure=False,
    )  # fmt: skip


def lines_of(config: TrainConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text("utf-8").splitlines()]


def same_weights(one: TrainConfig, other: TrainConfig) -> bool:
    first, second = (load_file(Path(config.output) / WEIGHTS) for config in (one, other))
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_learns_and_makes_a_checkpoint_that_the_main_job_opens(config: TrainConfig, catalog: Path) -> None:
    result = train(replace(config, steps=120, batch_size=24, learning_rate=4e-3), {})
    assert result.dev_top1 is not None
    assert result.dev_top1 >= 0.5  # chance is one sixth
    folder = Path(config.output)
    for name in (
        "label_set",
        "metrics.jsonl",
        "curves.png",
        "ladder.json",
        "leakage.json",
        "README.md",
        "training/settings.json",
    ):
        assert (folder / name).exists(), name
    with Session(model=f"local-dir:{folder}", device="cpu") as session:
        answers = [session.classify(catalog.parent / f"{taxon.genus}-{taxon.species}-0.png") for taxon in TAXA]
    right = [answer.best.taxon.genus == taxon.genus for answer, taxon in zip(answers, TAXA, strict=True) if answer.best]
    assert sum(right) >= 4


def test_the_metrics_have_each_step_once_and_the_share_of_duplicate_captions(config: TrainConfig) -> None:
    train(config, {})
    steps = [line for line in lines_of(config) if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 13))
    shares = [line["duplicate_captions"] for line in steps]
    assert all(0 <= share < 1 for share in shares)
    assert any(share > 0 for share in shares)
    assert {line["step"] for line in lines_of(config) if line["kind"] == "validation"} == {0, 4, 8, 12}


def test_a_stopped_run_goes_on_and_ends_with_the_same_weights_bit_for_bit(config: TrainConfig, tmp_path: Path) -> None:
    whole = replace(config, output=str(tmp_path / "whole"), drop_path=0.2, average=0.9, augmentation="camera")
    train(whole, {})
    steps: list[int] = []
    stopped = replace(
        whole, output=str(tmp_path / "stopped"), tell=lambda p: steps.append(p.step), should_stop=lambda: 6 in steps
    )
    with pytest.raises(TrainingStopped, match="stopped after step 6 of 12"):
        train(stopped, {})
    train(replace(stopped, should_stop=None), {})
    assert same_weights(whole, stopped)
    numbers = [line["step"] for line in lines_of(stopped) if line["kind"] == "step"]
    assert numbers == list(range(1, 13))


@pytest.mark.parametrize(("began", "later"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_run_that_goes_on_keeps_the_precision_that_it_began_with(
    began: str, later: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    automatic = replace(config, precision="auto", tell=lambda p: steps.append(p.step))
    monkeypatch.setenv(PRECISION_VARIABLE, began)
    with pytest.raises(TrainingStopped):
        train(replace(automatic, should_stop=lambda: 6 in steps), {})
    monkeypatch.setenv(PRECISION_VARIABLE, later)
    monkeypatch.setattr("bioclip_training.loop.run._version", lambda name: f"another {name}")
    assert train(automatic, {}).steps == 12
    record = json.loads((Path(config.output) / "training" / "settings.json").read_text("utf-8"))
    assert record["precision"] == began


def test_a_run_killed_with_sigkill_goes_on_and_ends_with_the_same_weights_bit_for_bit(
    config: TrainConfig, tmp_path: Path
) -> None:
    """The test uses one thread, as the killed process did: another number of threads changes the last bits."""
    whole = replace(config, output=str(tmp_path / "whole"), steps=40)
    killed = replace(whole, output=str(tmp_path / "killed"))
    process = begun(killed)
    wait_for(lambda: list((Path(killed.output) / "training").glob("state-0000*[48].pt")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (Path(killed.output) / WEIGHTS).exists()
    heard: list[TrainingProgress] = []
    train(replace(killed, tell=heard.append), {})
    assert any("going on after step" in progress.message for progress in heard)
    train(whole, {})
    assert same_weights(whole, killed)


def test_sigterm_saves_and_says_how_to_go_on(config: TrainConfig) -> None:
    long = replace(config, steps=4000, validate_every=2000, save_every=2000)
    process = begun(long)
    wait_for(lambda: (Path(long.output) / "metrics.jsonl").exists() and len(lines_of(long)) > 20, process)
    process.send_signal(signal.SIGTERM)
    code, *said = process.communicate()
    assert code == 130
    assert "its state is saved" in "".join(said)
    assert "The same command continues there." in "".join(said)
    state = max((Path(long.output) / "training").glob("state-*.pt"))
    assert int(state.stem.split("-")[1]) >= 20


def command_of(config: TrainConfig) -> list[str]:
    options = {
        name: value for name, value in config.as_dict().items() if name not in {"captions", "betas", "eps", "wise_ft"}
    }
    given = [
        part
        for name, value in options.items()
        if value not in (None, False, ())
        for part in ([f"--{name.replace('_', '-')}"] if value is True else [f"--{name.replace('_', '-')}", str(value)])
    ]
    return ["train", *given]


def begun(config: TrainConfig, *, first: str = "") -> Ready:
    """Begin the training of a command line in a process of one thread, after some lines of Python."""
    code = f"{first}\nimport torch; torch.set_num_threads(1); from bioclip_plugin.cli import main; main()"
    return Ready(code, *command_of(config), environment={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(condition: Callable[[], Any], process: Ready) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_finished_run_is_left_as_it_is(config: TrainConfig) -> None:
    first = train(config, {})
    written = (Path(config.output) / WEIGHTS).stat().st_mtime_ns
    heard: list[TrainingProgress] = []
    assert train(replace(config, tell=heard.append), {}) == first
    assert (Path(config.output) / WEIGHTS).stat().st_mtime_ns == written
    assert "finished already" in heard[0].message


def test_other_settings_in_the_same_folder_are_refused_by_name(config: TrainConfig) -> None:
    with pytest.raises(TrainingStopped):
        train(replace(config, should_stop=lambda: True), {})
    with pytest.raises(UsageError, match=r"settings: --learning-rate was 0.002 and is now 0\.1\. Cont"):
        train(replace(config, learning_rate=0.1), {})
    train(replace(config, workers=2, cache_mb=10), {})  # these change only the speed


def test_a_folder_with_something_else_is_refused(config: TrainConfig) -> None:
    Path(config.output).mkdir()
    (Path(config.output) / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and holds no training run"):
        train(config, {})


def test_a_bad_sample_is_listed_and_never_fatal(config: TrainConfig, tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "bad", val=0)
    broken = catalog.parent / "Rubra-parva-3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (catalog.parent / "Rubra-magna-4.png").unlink()
    heard: list[TrainingProgress] = []
    result = train(replace(config, data=str(catalog), tell=heard.append), {})
    listed = (Path(config.output) / "training" / "quarantine.csv").read_text("utf-8")
    assert result.quarantined == 2
    assert "Rubra-parva-3.png" in listed
    assert "does not exist" in listed
    assert listed.count("Rubra-parva-3.png") == 1
    assert sum("Rubra-parva-3.png is left out" in progress.message for progress in heard) == 1


def test_of_many_bad_samples_three_are_named_and_all_are_listed_and_counted(
    config: TrainConfig, tmp_path: Path
) -> None:
    catalog = make_catalog(tmp_path / "bad", val=0)
    for number in range(6):
        (catalog.parent / f"Rubra-parva-{number}.png").unlink()
    heard: list[TrainingProgress] = []
    result = train(replace(config, data=str(catalog), steps=16, tell=heard.append), {})
    listed = (Path(config.output) / "training" / "quarantine.csv").read_text("utf-8")
    assert result.quarantined == listed.count("does not exist") == 6
    assert sum(" is left out: " in progress.message for progress in heard) == 3
    assert sum(progress.message.startswith("more samples are left out") for progress in heard) == 1


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
    """Replace the features of the n-th forward pass in training, counted from 1, with ``change(n, features)``."""
    own, passes = Towers.image_features, count(1)

    def spoilt(self: Towers, images: torch.Tensor, *, replay_from: int | None = None) -> torch.Tensor:
        features = own(self, images, replay_from=replay_from)
        return change(next(passes), features) if features.requires_grad else features

    monkeypatch.setattr(Towers, "image_features", spoilt)


def test_a_run_that_never_recovers_ends_with_advice(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda _, features: features * float("nan"))
    heard: list[TrainingProgress] = []
    with pytest.raises(BioclipError, match=r"after going back 5 times already.*--learning-rate \(now 0.002\)"):
        train(replace(config, tell=heard.append), {})
    assert sum("going back to the weights of step 0" in progress.message for progress in heard) == 5


def test_a_batch_whose_loss_is_not_a_number_is_left_out_and_reported(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda number, features: features * float("nan") if number == 5 else features)
    heard: list[TrainingProgress] = []
    result = train(replace(config, tell=heard.append), {})
    assert result.steps == 12
    assert [p.message for p in heard if "left out" in p.message] == [
        "step 5: the loss is nan; nothing was changed, and its batch (number 5) is left out"
    ]


def test_a_spike_goes_back_to_the_last_saved_state_and_on_with_other_batches(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda number, features: -30 * features if number == 27 else features)
    heard: list[TrainingProgress] = []
    long = replace(config, steps=32, validate_every=8, save_every=8, tell=heard.append)
    assert train(long, {}).steps == 32
    (message,) = [p.message for p in heard if "going back" in p.message]
    assert message.startswith("step 27: the loss jumped to")
    assert "going back to the weights of step 24" in message
    assert [line["step"] for line in lines_of(long) if line["kind"] == "step"] == list(range(1, 33))


def test_out_of_memory_says_which_batch_would_fit(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Towers.image_features

    def small(self: Towers, images: torch.Tensor, *, replay_from: int | None = None) -> torch.Tensor:
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return own(self, images, replay_from=replay_from)

    monkeypatch.setattr(Towers, "image_features", small)
    with pytest.raises(BioclipError, match=r"out of memory with 12 images at once; 3 fit.*--accumulate 4"):
        train(replace(config, dev_fraction=0), {})


def test_a_disk_that_fills_keeps_the_last_state(config: TrainConfig) -> None:
    """A file size limit simulates the full disk: the operating system refuses further writes."""
    limit = (
        "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    )
    code, _, said = begun(config, first=limit).communicate()
    assert code == 1
    assert "cannot be written" in said
    assert "Traceback" not in said
    assert not list((Path(config.output) / "training").glob(".*part"))


def test_a_collection_of_one_taxon_is_refused_before_training(config: TrainConfig, tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "one", taxa=TAXA[:1])
    with pytest.raises(SourceError, match="of a single taxon"):
        train(replace(config, data=str(catalog)), {})
    assert not Path(config.output).exists()


def test_replay_has_a_loss_of_its_own_and_a_share_of_each_batch(config: TrainConfig, tmp_path: Path) -> None:
    new = make_catalog(tmp_path / "new", taxa=TAXA[4:])
    old = make_catalog(tmp_path / "old", taxa=TAXA[:4])
    for projection in ("second", "shared"):
        run = replace(
            config, data=str(new), replay=str(old), replay_projection=projection, output=str(tmp_path / projection)
        )  # type: ignore[arg-type]
        train(run, {})
        steps = [line for line in lines_of(run) if line["kind"] == "step"]
        assert all(line["loss"] == pytest.approx(line["loss_of_data"] + line["loss_of_replay"]) for line in steps)
        names = json.loads((Path(run.output) / "label_set" / "label_set.json").read_text("utf-8"))
        assert names["count"] == 6
    assert not same_weights(
        replace(config, output=str(tmp_path / "second")), replace(config, output=str(tmp_path / "shared"))
    )


def test_lora_trains_additions_to_the_vision_tower_and_merges_them(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=4, wise_ft=False), {})
    start = f"local-dir:{config.output}"
    run = replace(
        config,
        start=start,
        method="lora",
        output=str(tmp_path / "lora"),
        lock_text=True,
        learning_rate=0.01,
        wise_ft=False,
    )
    result = train(run, {})
    old, new = (load_file(Path(folder) / WEIGHTS) for folder in (config.output, run.output))
    assert set(old) == set(new)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    if result.best_step:
        assert {
            "visual.proj",
            "visual.transformer.resblocks.0.mlp.c_fc.weight",
            "visual.transformer.resblocks.1.mlp.c_proj.weight",
        } <= changed
    assert all(name.startswith("visual.") or name == "logit_scale" for name in changed)
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" not in changed
    best = load_file(next((Path(run.output) / "training").glob("best-*.safetensors")))
    assert all(torch.equal(best[name], new[name]) for name in new)
    torch.rand(3)  # the caller's random state differs when the same run starts again
    again = replace(run, output=str(tmp_path / "again"))
    train(again, {})
    assert same_weights(run, again)


def test_of_steps_that_dev_cannot_tell_apart_the_later_is_kept() -> None:
    def found(top1: float) -> Validation:
        return Validation(10, top1, {}, 1.0)

    early = Best(84, (0.8, -0.5), highest=0.8)
    assert early.is_beaten_by(found(0.8), groups=10)
    assert early.is_beaten_by(found(0.7), groups=10), "the standard error of 8 of 10 is 13 points"
    assert not early.is_beaten_by(found(0.6), groups=10)
    assert not early.is_beaten_by(found(0.7), groups=1000), "and of 800 of 1,000 only 1.3"
    slipped = Best(98, (0.7, -0.5), highest=0.8)
    assert not slipped.is_beaten_by(found(0.6), groups=10), (
        "measured from the highest, so that many small steps do not add up"
    )


def test_the_process_keeps_its_random_numbers(config: TrainConfig) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(config, steps=4), {})
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_takes_the_dev_part_that_the_model_was_chosen_on(config: TrainConfig, catalog: Path) -> None:
    train(replace(config, steps=2, dev_fraction=0.4), {})
    assert dev_fraction_of(Path(config.output)) == 0.4
    assert dev_fraction_of(catalog.parent) == DEV_FRACTION
    opened = Catalog.open(catalog, dev_fraction=0.4)
    assert len(opened.rows_of("dev")) > len(Catalog.open(catalog).rows_of("dev"))
    assert len(opened.rows_of("dev")) + len(opened.rows_of("train")) == 42
