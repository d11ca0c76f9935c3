"""Ablations: configurations, arms, figures worked out by hand, and small ones that are run, stopped and continued."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from collections_of_discs import TAXA, disc, make_catalog, tiny_config
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from bioclip_core.errors import BioclipError, DataError, SourceError, UsageError
from bioclip_core.identity import file_sha256
from bioclip_training.ablation.answers import Answers, Test
from bioclip_training.ablation.arms import Arm, arms_of
from bioclip_training.ablation.configuration import Ablation, read_ablation
from bioclip_training.ablation.example import EXAMPLE
from bioclip_training.ablation.page import page
from bioclip_training.ablation.results import BETTER, NOT_TOLD_APART, WORSE, Results
from bioclip_training.ablation.running import Listener, Prepared, prepare, results_of, run
from bioclip_training.ablation.wording import in_configuration
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.loop.recipe import TrainConfig, TrainingStopped, TrainResult
from bioclip_training.loop.run import train

_QUICK = {"steps": 2, "batch_size": 4, "precision": "fp32", "wise_ft": False, "measure": False, "workers": 1}


Train = Callable[[TrainConfig], TrainResult]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """A training that takes no time: the checkpoint of two steps, trained once; another loss, seed or collection gives other weights."""
    folder = tmp_path_factory.mktemp("once")
    config = TrainConfig(
        data=str(make_catalog(folder / "discs", each=2, val=1)),
        start=tiny_config(folder),
        output=str(folder / "out"),
        **_QUICK,
    )
    result = train(config, {})
    weights = load_file(folder / "out" / "open_clip_model.safetensors")

    def copied(config: TrainConfig) -> TrainResult:
        shutil.copytree(folder / "out", config.output, ignore=shutil.ignore_patterns("training", "*.safetensors"))
        seed = zlib.crc32(f"{config.loss} {config.seed} {Catalog.open(config.data).identity}".encode())
        noise = torch.Generator().manual_seed(seed)
        changed = {
            name: value + 0.3 * torch.randn(value.shape, generator=noise) if name.startswith("visual.proj") else value
            for name, value in weights.items()
        }
        save_file(changed, Path(config.output) / "open_clip_model.safetensors")
        return replace(result, output=Path(config.output))

    return copied


def _read(folder: Path, text: str) -> Ablation:
    (folder / "ablation.yaml").write_text(text, "utf-8")
    return read_ablation(folder / "ablation.yaml")


def _catalog(folder: Path, *, sources: dict[str, int], val: int = 2) -> Path:
    """Write a catalog with so many training discs of each taxon from each source, and discs for measuring."""
    folder.mkdir()
    rows = []
    for taxon in TAXA:
        for source, count in {**sources, "val": val}.items():
            for number in range(count):
                name = f"{source}-{taxon.genus}-{taxon.species}-{number}.png"
                disc(taxon, number + 100 * len(rows)).save(folder / name)
                of = "museum" if source == "val" else source
                rows.append(CatalogRow(name, taxon, source=of, group=name, split="val" if source == "val" else "train"))
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return folder / "catalog.parquet"


# -- configuration -----------------------------------------------------------------------------------------------------


def test_the_example_is_a_configuration_with_every_kind_of_arm(tmp_path: Path) -> None:
    config = _read(tmp_path, EXAMPLE)
    assert config.data == tmp_path / "collection.parquet"
    assert [arm.name for arm in arms_of(config, ["field", "museum"])] == [
        "recipe", "captions: taxonomic", "captions: scientific", "captions: common", "loss: clip", "without field",
        "without museum", "lora",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train: {batch_size: 8}", "train.steps is missing: arms are compared at equal steps"),
        ("train: {steps: many}", "train.steps 'many': give a whole number"),
        ("train: {steps: true}", "train.steps True: give a whole number"),
        ("train: {steps: 5, learning_rat: 1}", "train.learning_rat is not a setting of train"),
        ("train: {steps: 5, seed: 1}", "train.seed: the ablation itself sets it"),
        ("train: {steps: 5}\ncompare: {captions: [latin]}", "compare.captions 'latin': allowed are scientific"),
        ("train: {steps: 5}\nseeds: [1, 1]", "seeds [1, 1]: give one or more different numbers"),
        ("train: {steps: 5}\ntests: {}", "tests is empty"),
        ("train: {steps: 5}\ncaptions: [taxonomy]", "captions 'taxonomy': allowed are"),
        ("train: {steps: 5}\nbase: x", "base is not known"),
        ("train: {steps: 5}\narms: {x: {train: {data: y}}}", "arms.x.train.data: the ablation itself sets it"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"ablation\.yaml") as refused:
        _read(tmp_path, f"data: c.parquet\nstart: demo\noutput: o\n{line}\n")
    assert message in str(refused.value)


def _config(**changes: Any) -> Ablation:
    return replace(Ablation(Path("c.parquet"), "demo", Path("o"), {"steps": 5}), **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: {a: {sources: [feld]}}", "arms.a.sources 'feld': c.parquet has no such source in train"),
        ("compare: {sources: each-alone, losses: [clip]}\nbaseline: clip", "baseline 'clip' is not an arm"),
        ("compare: {losses: [taxon]}", "nothing to compare"),
        ("arms: {recipe: {train: {loss: clip}}}", "arms.recipe: a compared arm has this name already"),
    ],
)  # fmt: skip
def test_arms_that_do_not_fit_the_catalog_are_refused(tmp_path: Path, text: str, message: str) -> None:
    config = replace(
        _read(tmp_path, f"data: c.parquet\nstart: demo\noutput: o\ntrain: {{steps: 5, loss: taxon}}\n{text}"),
        data=Path("c.parquet"),
    )
    with pytest.raises(UsageError) as refused:
        arms_of(config, ["field", "museum"])
    assert message in str(refused.value)


def test_one_source_cannot_be_compared_with_itself(tmp_path: Path) -> None:
    config = _read(
        tmp_path, "data: c.parquet\nstart: demo\noutput: o\ntrain: {steps: 5}\ncompare: {sources: without-each}"
    )
    with pytest.raises(UsageError, match="the catalog has museum alone in train; two are needed"):
        arms_of(config, ["museum"])


def test_arms_with_equal_settings_are_trained_once_and_the_baseline_comes_first(tmp_path: Path) -> None:
    compared = "{captions: [mixture, common], losses: [clip]}"
    text = (
        f"train: {{steps: 5}}\ncompare: {compared}\nbaseline: 'loss: clip'\narms: {{same: {{train: {{loss: clip}}}}}}"
    )
    config = _read(tmp_path, f"data: c.parquet\nstart: demo\noutput: o\n{text}")
    arms = arms_of(config, ["museum"])
    assert [arm.name for arm in arms] == ["loss: clip", "recipe", "captions: common"]
    assert [arm.also for arm in arms] == [("same",), ("captions: mixture",), ()]
    faster = replace(
        config.arms["same"], train={"workers": 9, "weight_decay": 0.2}
    )  # a default, and what changes the speed alone
    found = arms_of(replace(config, arms={"same": faster}), ["museum"])
    assert found[1].also == ("captions: mixture", "same")


def test_a_replay_is_found_beside_the_configuration(tmp_path: Path) -> None:
    text = "train: {steps: 5, replay: old.parquet}\narms: {a: {train: {replay: older.parquet}}}"
    config = _read(tmp_path, f"data: c.parquet\nstart: demo\noutput: o\n{text}")
    assert config.train["replay"] == str(tmp_path / "old.parquet")
    assert config.arms["a"].train["replay"] == str(tmp_path / "older.parquet")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("train with --dev-fraction 0.3, which", "train with train.dev_fraction 0.3, which"),
        ("--replay and --data are the same; give --seed", "train.replay and data are the same; give seeds"),
        ("see: bioclip-plugin catalog show c.parquet --taxa", "see: bioclip-plugin catalog show c.parquet --taxa"),
    ],
)
def test_messages_of_the_training_name_settings_of_the_configuration(said: str, shown: str) -> None:
    assert in_configuration(said) == shown


# -- figures -----------------------------------------------------------------------------------------------------------


def _results(folder: Path, answers: dict[tuple[str, int], list[int]]) -> Results:
    """Return results of two arms on 12 images of a catalog, two per taxon and each a group of its own."""
    catalog = Catalog.open(make_catalog(folder, each=3, val=2))
    test = Test("val", catalog, "val")
    stored = {key: Answers({("val", "taxonomic"): np.array(found)}) for key, found in answers.items()}
    names = list(dict.fromkeys(name for name, _ in answers))
    seeds = tuple(sorted({seed for _, seed in answers}))
    return Results(_config(seeds=seeds), [test], [Arm(name) for name in names], stored)


def test_accuracy_and_difference_are_means_over_seeds_on_the_same_images(tmp_path: Path) -> None:
    truth = Test("t", Catalog.open(make_catalog(tmp_path / "t", each=3, val=2)), "val").truth_N.tolist()
    wrong = [(label + 1) % 6 for label in truth]
    results = _results(
        tmp_path / "c",
        {("recipe", 0): wrong, ("recipe", 1): truth[:6] + wrong[6:], ("other", 0): truth, ("other", 1): truth},
    )
    recipe, other = results.figures()
    assert (recipe.top1, recipe.lowest, recipe.highest, recipe.difference) == (0.25, 0.0, 0.5, 0.0)
    assert (other.top1, other.difference, other.images, other.groups, other.seeds) == (1.0, 0.75, 12, 12, 2)
    assert (recipe.verdict, other.verdict) == (NOT_TOLD_APART, BETTER)
    assert other.difference_ci95[0] > 0
    assert other.as_dict()["top1_ci95"] == list(other.top1_ci95)


def test_an_arm_that_is_worse_is_said_to_be(tmp_path: Path) -> None:
    truth = Test("t", Catalog.open(make_catalog(tmp_path / "t", each=3, val=2)), "val").truth_N.tolist()
    results = _results(tmp_path / "c", {("recipe", 0): truth, ("other", 0): [(label + 1) % 6 for label in truth]})
    assert results.figures()[1].verdict == WORSE


def test_a_rank_counts_answers_of_the_right_genus(tmp_path: Path) -> None:
    catalog = Catalog.open(make_catalog(tmp_path / "t", each=3, val=2))
    truth = Test("t", catalog, "val").truth_N.tolist()
    sister = [
        next(o for o, taxon in enumerate(catalog.taxa) if taxon.genus == catalog.taxa[t].genus and o != t)
        for t in truth
    ]
    results = _results(tmp_path / "c", {("recipe", 0): truth, ("other", 0): sister})
    assert [(one.rank, one.top1) for one in results.figures(("label", "genus"))] == [
        ("label", 1.0), ("label", 0.0), ("genus", 1.0), ("genus", 1.0),
    ]  # fmt: skip


def test_an_image_that_one_model_could_not_read_counts_for_none(tmp_path: Path) -> None:
    truth = Test("t", Catalog.open(make_catalog(tmp_path / "t", each=3, val=2)), "val").truth_N.tolist()
    results = _results(tmp_path / "c", {("recipe", 0): truth, ("other", 0): [-1, *truth[1:]]})
    assert [(one.images, one.top1) for one in results.figures()] == [(11, 1.0), (11, 1.0)]


def test_a_seed_that_not_every_arm_has_is_not_counted_and_said(tmp_path: Path) -> None:
    truth = Test("t", Catalog.open(make_catalog(tmp_path / "t", each=3, val=2)), "val").truth_N.tolist()
    results = _results(tmp_path / "c", {("recipe", 0): truth, ("other", 0): truth, ("recipe", 7): truth})
    assert results.seeds == (0,)
    results.remarks = ("Test val: 2 of 12 images are left out",)
    text = page(results)
    assert "range of the seeds" not in text  # one has no range
    assert "since each arm was trained once" in text
    assert "Test val: 2 of 12 images are left out." in text
    assert "Not counted yet, since not every arm is trained with them: seeds 7." in text
    assert "the difference of two arms can be luck of the training: give three or more" in text


def test_the_page_has_tables_with_intervals_and_says_how_many_differences_are_chance(tmp_path: Path) -> None:
    truth = Test("t", Catalog.open(make_catalog(tmp_path / "t", each=3, val=2)), "val").truth_N.tolist()
    wrong = [(label + 1) % 6 for label in truth]
    answers = {(name, seed): wrong if name == "recipe" else truth for seed in (0, 1) for name in ("recipe", "a|b")}
    text = page(_results(tmp_path / "c", answers))
    assert "| a\\|b | 100.0 [" in text
    assert "| a\\|b | +100.0 [" in text
    assert "Differences that exclude zero: 1 of 1; if nothing mattered, about 0.1 would by chance" in text
    assert "and the range of the seeds; columns" in text


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _catalog(tmp_path_factory.mktemp("discs") / "images", sources={"field": 2, "museum": 3})


def _prepared(collection: Path, folder: Path, text: str, **changes: Any) -> Prepared:
    seeds = changes.pop("seeds", [0, 1])
    settings = json.dumps({**_QUICK, **changes})
    document = (
        f"data: {collection}\nstart: {tiny_config(folder)}\noutput: out\nseeds: {seeds}\ntrain: {settings}\n{text}"
    )
    return prepare(_read(folder, document), {})


def test_an_ablation_that_is_stopped_continues_and_gives_the_same_answers(
    collection: Path, tmp_path: Path, trained: Train
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = "compare: {sources: each-alone}\ncaptions: [taxonomic, common]"
    whole = run(_prepared(collection, tmp_path / "a", text), trained, {})
    calls: list[TrainConfig] = []

    def stopped(config: TrainConfig) -> TrainResult:
        calls.append(config)
        if len(calls) == 3:
            raise TrainingStopped("after step 1")
        return trained(config)

    prepared = _prepared(collection, tmp_path / "b", text)
    with pytest.raises(TrainingStopped):
        run(prepared, stopped, {})
    assert prepared.finished == 2
    assert results_of(prepared).figures() == []  # no seed has every arm
    again = run(_prepared(collection, tmp_path / "b", text), stopped, {})
    assert len(calls) == 3 + 4  # the third once more, and the three after it
    assert [one.as_dict() for one in again.figures()] == [one.as_dict() for one in whole.figures()]
    assert [one.arm for one in whole.figures()][:3] == ["recipe", "field alone", "museum alone"]
    assert not (tmp_path / "a" / "out" / "runs").exists()


def test_an_arm_of_one_source_is_trained_on_its_images_alone(collection: Path, tmp_path: Path, trained: Train) -> None:
    seen: dict[str, int] = {}

    def looked(config: TrainConfig) -> TrainResult:
        catalog = Catalog.open(config.data)
        rows = catalog.rows_of("train", dev_fraction=0.0)
        assert all(catalog.path(row).is_file() for row in rows.tolist())
        seen["+".join(sorted({catalog.column("source")[row] for row in rows.tolist()}))] = len(rows)
        return trained(config)

    run(
        _prepared(collection, tmp_path, "compare: {sources: without-each}"),
        looked,
        {},
    )
    assert seen == {"field+museum": 30, "museum": 18, "field": 12}


def test_more_seeds_and_arms_train_only_what_is_new(collection: Path, tmp_path: Path, trained: Train) -> None:
    called: list[tuple[str, int]] = []

    def counted(config: TrainConfig) -> TrainResult:
        called.append((config.loss, config.seed))
        return trained(config)

    run(_prepared(collection, tmp_path, "compare: {losses: [clip]}"), counted, {})
    assert called == [("taxon", 0), ("clip", 0), ("taxon", 1), ("clip", 1)]
    called.clear()
    run(_prepared(collection, tmp_path, "compare: {losses: [clip, siglip]}", workers=2, weight_decay=0.2), counted, {})
    assert called == [("siglip", 0), ("siglip", 1)]  # fewer workers and a default that is written out change no model


def test_an_arm_that_fails_leaves_the_others_and_the_same_command_tries_it_again(
    collection: Path, tmp_path: Path, trained: Train
) -> None:
    """Field cases: one job ended the whole sweep (hydra-ecosystem/hydra#1462); failed runs were not done again (wandb/wandb#2031)."""
    called: list[tuple[str, int]] = []
    broken = {"clip"}

    def fails(config: TrainConfig) -> TrainResult:
        called.append((config.loss, config.seed))
        if config.loss in broken:
            raise BioclipError("the loss is not a number; try a lower --learning-rate")
        return trained(config)

    text = "compare: {losses: [clip, siglip]}"
    found = run(_prepared(collection, tmp_path, text), fails, {})
    assert called == [(loss, seed) for seed in (0, 1) for loss in ("taxon", "clip", "siglip")]
    assert (found.seeds, [arm.name for arm in found.arms]) == ((0, 1), ["recipe", "loss: siglip"])
    reported = page(results_of(_prepared(collection, tmp_path, text)))
    assert (
        "loss: clip failed with 2 seeds (0, 1): the loss is not a number; try a lower train.learning_rate." in reported
    )
    assert "| loss: siglip |" in reported
    broken.clear()
    called.clear()
    assert len(run(_prepared(collection, tmp_path, text), fails, {}).arms) == 3
    assert called == [("clip", 0), ("clip", 1)]


def test_a_baseline_that_fails_ends_the_ablation_and_leaves_no_folder(collection: Path, tmp_path: Path) -> None:
    def fails(config: TrainConfig) -> TrainResult:
        Path(config.output).mkdir(parents=True)
        raise BioclipError("not enough memory: try --batch-size 2")

    with pytest.raises(BioclipError, match=r"try train\.batch_size 2"):
        run(_prepared(collection, tmp_path, "compare: {losses: [clip]}"), fails, {})
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_only_begun_or_whose_answers_are_cut_short_is_done_again(
    collection: Path, tmp_path: Path, trained: Train
) -> None:
    """A field case: what was there when a run began counted as finished after a kill (TIGER-AI-Lab/ClawBench#329)."""
    prepared = _prepared(collection, tmp_path, "compare: {losses: [clip]}", seeds=[0])
    whole = run(prepared, trained, {})
    baseline, other = prepared.runs
    prepared.answers(*baseline).write_bytes(prepared.answers(*baseline).read_bytes()[:100])
    prepared.answers(*other).unlink()  # the facts, which are written before, stay
    assert prepared.finished == 0
    assert [one.as_dict() for one in run(prepared, trained, {}).figures()] == [one.as_dict() for one in whole.figures()]


def test_another_content_of_a_replayed_collection_is_another_run(
    collection: Path, tmp_path: Path, trained: Train
) -> None:
    """A field case: data that had changed under an unchanged name were taken from a cache (benchflow-ai/benchflow#861)."""
    text = "compare: {replay: {data: old.parquet}}"
    keys = []
    for each in (3, 2):
        shutil.rmtree(tmp_path / "old", ignore_errors=True)
        old = make_catalog(tmp_path / "old", each=each, val=1)
        shutil.copy(old, tmp_path / "old.parquet")
        prepared = _prepared(collection, tmp_path, text)
        keys.append([prepared.identity(arm, 0) for arm in prepared.arms])
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_images_of_a_test_that_are_trained_on_are_refused_or_not_counted(tmp_path: Path, trained: Train) -> None:
    """A field case: all test images were images of train under other names (stefyste/RIAWELC#2)."""
    data, other = _catalog(tmp_path / "a", sources={"field": 3}), _catalog(tmp_path / "b", sources={"field": 1})
    catalog = Catalog.open(data)
    shutil.copy(catalog.path(int(catalog.rows_of("train")[0])), other.parent / "val-Rubra-parva-0.png")
    for file in (data, other):
        rows = parquet.read_table(file)
        hashes = [file_sha256(file.parent / uri) for uri in rows["uri"].to_pylist()]
        place = rows.column_names.index("sha256")
        parquet.write_table(rows.set_column(place, "sha256", pa.array(hashes)), file)
    said = "1 of 12 images are trained on by an arm or the start model (first: val-"
    text = f"compare: {{losses: [clip]}}\ntests: {{other: {{data: {other}, trained_images: %s}}}}"
    with pytest.raises(DataError, match=r"Choose with tests\.other\.trained_images: leave-out") as refused:
        _prepared(data, tmp_path, text % "refuse")
    assert said in str(refused.value)
    kept = _prepared(data, tmp_path, text % "keep")
    assert said in kept.remarks[0]
    left = run(_prepared(data, tmp_path, text % "leave-out", seeds=[0]), trained, {})
    assert left.figures()[0].images == 11
    assert "and not counted." in page(left)


def test_a_kept_model_stays_in_the_folder_of_its_run(collection: Path, tmp_path: Path, trained: Train) -> None:
    prepared = _prepared(collection, tmp_path, "keep_models: true\narms: {other: {train: {loss: clip}}}")
    run(prepared, trained, {}, Listener())
    kept = {folder.name for folder in (tmp_path / "out" / "runs").iterdir()}
    assert kept == {prepared.identity(arm, seed) for arm, seed in prepared.runs}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "tests: {held: {split: unseen}}",
            DataError,
            "tests.held: .* has no rows of the split 'unseen'; it has train 30",
        ),
        ("tests: {own: {split: train}}", UsageError, "tests.own: the models are trained on train"),
        ("tests: {old: {data: /nowhere.parquet}}", SourceError, "/nowhere.parquet does not exist"),
        ("arms: {big: {train: {batch_size: 5, accumulate: 2}}}", UsageError, "batch_size 5 in 2 parts"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_training(
    collection: Path, tmp_path: Path, text: str, error: type[BioclipError], message: str
) -> None:
    with pytest.raises(error, match=message):
        _prepared(collection, tmp_path, f"{text}\ncompare: {{losses: [clip]}}")
