"""Each hook through a real manager, with the colour model, whose answers can be worked out by hand."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from bioclip_core.errors import PluginError, UnknownModel, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import Answer, ClassifyRequest, MediaItem, Place, cli, create_plugin_manager, hookimpl
from bioclip_plugin.cli import CommandGroup
from bioclip_plugin.engines.worker import Worker
from bioclip_plugin.plugin_api import (
    BioclipPluginManager,
    ContentFilter,
    Detection,
    Detector,
    ExecutionEngine,
    Export,
    ExportOptions,
    FilterOptions,
    FilterRecord,
    ListingOptions,
    Problem,
    ReviewItems,
    Rule,
    Ruling,
    ShardJob,
    ShardResult,
    Subject,
    TrainingPlan,
)
from bioclip_plugin.review_order.of_plugins import strategies_of
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.store import Run, Store
from bioclip_plugin.testing import FakeModel
from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress

RED, BLUE = (255, 0, 0), (0, 0, 255)
FISH = ("a red fish", "a blue fish")
LIKELY = math.e / (math.e + 1)  # the cosines are 1 and 0, the scale is 1
TOLERANCE = 1e-6  # softmax in fp32; the features here are exact in float16


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
def pm(fake: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(fake)
    manager.check_pending()
    return manager


@pytest.fixture
def request_for_fish() -> ClassifyRequest:
    return ClassifyRequest(model="fake", labels=FISH)


def picture(uri: str, colour: tuple[int, int, int], place: Place = Place()) -> MediaItem:  # noqa: B008 - it is frozen
    return MediaItem(uri=uri, place=place, image=Image.new("RGB", (20, 10), colour))


def probabilities(answer: Answer) -> dict[str, float]:
    return {candidate.name: candidate.probability for candidate in answer.candidates}


def test_hook_classify_images(pm: BioclipPluginManager, request_for_fish: ClassifyRequest, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.jpg")
    red, failed, blue = pm.hook.classify_images(
        items=[picture("red", RED), missing, picture("blue", BLUE)], request=request_for_fish
    )
    assert probabilities(red) == pytest.approx({"a red fish": LIKELY, "a blue fish": 1 - LIKELY}, abs=TOLERANCE)
    assert probabilities(blue) == pytest.approx({"a blue fish": LIKELY, "a red fish": 1 - LIKELY}, abs=TOLERANCE)
    assert (red.item.uri, failed.item.uri, blue.item.uri) == ("red", missing, "blue")
    assert failed.failure is not None
    assert failed.failure.stage == "read"
    assert "does not exist" in failed.failure.reason
    assert failed.candidates == ()
    # 0.73 is above the default threshold of 0.65, but below 0.75
    assert red.consensus is not None
    assert red.consensus.name == "a red fish"
    strict = ClassifyRequest(model="fake", labels=FISH, threshold=0.75)
    assert pm.hook.classify_images(items=[picture("red", RED)], request=strict)[0].consensus is None


def test_a_plugin_that_answers_itself_comes_before_the_built_in(
    pm: BioclipPluginManager, request_for_fish: ClassifyRequest, fake: FakeModel
) -> None:
    class Oracle:
        @hookimpl
        def classify_images(self, items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[Answer] | None:
            return [Answer(item) for item in items if isinstance(item, MediaItem)] if request.top == 1 else None

    pm.register(Oracle())
    asked = ClassifyRequest(model="fake", labels=FISH, top=1)
    assert pm.hook.classify_images(items=[picture("red", RED)], request=asked)[0].regions == ()
    assert fake.encoder.images_encoded == 0
    assert pm.hook.classify_images(items=[picture("red", RED)], request=request_for_fish)[0].best.name == "a red fish"


def test_hook_embed_images(pm: BioclipPluginManager, request_for_fish: ClassifyRequest, tmp_path: Path) -> None:
    red, failed, grey = pm.hook.embed_images(
        items=[picture("red", RED), str(tmp_path / "missing.jpg"), picture("grey", (90, 90, 90))],
        request=request_for_fish,
    )
    assert red.dtype == np.float16
    assert red.tolist() == [[1.0, 0.0, 0.0]]
    assert failed is None
    # one third of the squared length each, rounded to float16 (11 bits: half a unit in the last place is 2.5e-4)
    assert grey[0] == pytest.approx([3**-0.5] * 3, abs=2.5e-4)


def test_hook_train_model(pm: BioclipPluginManager, tmp_path: Path) -> None:
    """The hook trains a tiny model on a collection of plain colours and returns a checkpoint that the other hooks accept."""
    rows = []
    for number, (colour, genus) in enumerate([((200, 30, 30), "Rubra"), ((30, 30, 200), "Caerula")] * 6):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{number}.png")
        taxon = Taxon.of(["Fictalia", "Fictozoa", "Fictia", "Fictales", "Fictidae", genus, "plana"])
        rows.append(CatalogRow(uri=f"{number}.png", taxon=taxon, group=str(number), split="train"))
    parquet.write_table(table_from(rows), tmp_path / "catalog.parquet")
    towers = {"vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
              "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    (tmp_path / "tiny.json").write_text(json.dumps({"model_cfg": {"embed_dim": 16, **towers}}), "utf-8")
    heard: list[TrainingProgress] = []
    config = TrainConfig(
        data=str(tmp_path / "catalog.parquet"), start=f"new:{tmp_path / 'tiny.json'}", output=str(tmp_path / "model"), steps=3,
        batch_size=4, device="cpu", tell=heard.append,
    )  # fmt: skip
    result = pm.hook.train_model(config=config)
    assert [progress.step for progress in heard if progress.loss is not None] == [1, 2, 3]
    (answer,) = pm.hook.classify_images(
        items=[str(tmp_path / "0.png")], request=ClassifyRequest(model=f"local-dir:{result.output}", device="cpu")
    )
    assert {candidate.taxon.genus for candidate in answer.candidates} == {"Rubra", "Caerula"}


def test_hook_plan_training(pm: BioclipPluginManager, tmp_path: Path) -> None:
    """The hook of a host's own trainer is asked before the built-in one; nothing is opened for it."""

    class Remote:
        @hookimpl
        def plan_training(self, config: TrainConfig) -> TrainingPlan:
            return TrainingPlan(
                output=Path(config.output), state="new", step=0, steps=7, batch_size=config.batch_size, replay_batch_size=0,
                processes=1, parts=(), taxa=None, replay_images=0, validations=1, save_every=1, device="remote",
                precision="bf16", compute_reason="a queue elsewhere", threads=1, decoding_threads=1,
            )  # fmt: skip

    pm.register(Remote())
    config = TrainConfig(data="none.parquet", start="demo", output=str(tmp_path / "model"))
    plan = pm.hook.plan_training(config=config)
    assert plan.steps == 7
    assert "Device: remote, bf16 (a queue elsewhere); 1 computing thread, 1 decoding thread" in plan.lines()


def test_hook_register_models(pm: BioclipPluginManager, request_for_fish: ClassifyRequest) -> None:
    pm.register(FakeModel("other", logit_scale=2.0))
    assert {"fake", "other", "bioclip-2", "demo"} <= set(pm.models())
    other = ClassifyRequest(model="other", labels=FISH)
    answer = pm.hook.classify_images(items=[picture("red", RED)], request=other)[0]
    assert answer.best.probability == pytest.approx(math.e**2 / (math.e**2 + 1), abs=TOLERANCE)
    with pytest.raises(UnknownModel, match="nobody"):
        pm.hook.classify_images(items=[picture("red", RED)], request=ClassifyRequest(model="nobody", labels=FISH))


def test_two_models_of_one_name_are_an_error(pm: BioclipPluginManager) -> None:
    with pytest.raises(
        PluginError, match="the model 'fake' is registered already, by plugin FakeModel; names must differ"
    ):
        pm.register(FakeModel("fake"))
    assert "fake" in pm.models()


class Shelf:
    """Source for addresses that begin with ``shelf:``, and for files with that word in their first line."""

    name = "shelf"

    def takes(self, address: str) -> bool:
        return address.startswith("shelf:")

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem]:
        yield from (MediaItem(uri=f"{address}/{number}") for number in (1, 2))


def test_hook_register_sources(pm: BioclipPluginManager, tmp_path: Path) -> None:
    class Shelves:
        @hookimpl
        def register_sources(self, register: Callable[[Any], None]) -> None:
            register(Shelf())

    pm.register(Shelves())
    names = [source.name for source in pm.sources()]
    assert names[0] == "shelf"  # plugins come before the built-ins, one of which takes any file
    assert len(names) > 1
    (tmp_path / "ant.png").write_bytes(b"an image, for all that listing cares")
    items = list(Listing(["shelf:north", str(tmp_path / "ant.png")], pm.sources()))
    assert [item.uri for item in items] == ["shelf:north/1", "shelf:north/2", str(tmp_path / "ant.png")]


def test_hook_register_exporters(pm: BioclipPluginManager, request_for_fish: ClassifyRequest, tmp_path: Path) -> None:
    class Tally:
        name = "tally"
        description = "One name a line."
        folder = False

        def write(self, path: Path, export: Export) -> int:
            names = [item.regions[0].by_rank["label"][0].name for item in export.items()]
            path.write_text("\n".join([f"run {export.run.id}", *names]))
            return len(names)

        def recognises(self, path: Path) -> bool:
            return path.is_file() and path.read_text().startswith("run ")

        def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
            if len(path.read_text().splitlines()) < 2:
                yield Problem(path.name, "", "nothing is tallied")

    class Tallies:
        @hookimpl
        def register_exporters(self, register: Callable[[Any], None]) -> None:
            register(Tally())

    pm.register(Tallies())
    assert {"tally", "csv", "parquet", "jsonl"} <= set(pm.exporters())
    kept = ClassifyRequest(model="fake", labels=FISH, store=str(tmp_path / "results.db"))
    pm.hook.classify_images(items=[picture("red", RED), picture("blue", BLUE)], request=kept)
    with Store.open(tmp_path / "results.db") as store:
        assert pm.exporters()["tally"].write(tmp_path / "tally.txt", Export(store, store.run())) == 2
    assert (tmp_path / "tally.txt").read_text() == "run 1\na red fish\na blue fish"
    command_line = CliRunner(), cli.command_line(pm)
    export = ["export", "--store", str(tmp_path / "results.db"), "--format", "tally", "--output"]
    none = command_line[0].invoke(
        command_line[1], [*export, str(tmp_path / "none"), "--taxon", "a red herring"], obj=pm
    )
    assert "error: nothing is tallied" in none.output
    assert not (tmp_path / "none").exists()
    valid = command_line[0].invoke(command_line[1], ["validate", str(tmp_path / "tally.txt")], obj=pm)
    assert valid.output == f"{tmp_path / 'tally.txt'}: tally, 0 errors, 0 warnings\n"


def test_hook_register_commands(pm: BioclipPluginManager) -> None:
    class Greeter:
        @hookimpl
        def register_commands(self, cli: click.Group) -> None:
            @cli.command()
            def greet() -> None:
                """Say something kind."""
                click.echo("good morning")

    pm.register(Greeter())
    group = CommandGroup("bioclip-plugin")
    pm.hook.register_commands(cli=group)
    called = CliRunner().invoke(group, ["greet"])
    assert (called.exit_code, called.output) == (0, "good morning\n")
    overview = CliRunner().invoke(group, ["--help"]).output
    assert "Say something kind." in overview
    assert "classify" in overview  # the built-ins' own commands come through the same hook


class Warden:
    """Plugin that gives the same weights for a country, and counts its calls."""

    def __init__(self, country: str, weights: dict[str, float]) -> None:
        self.country = country
        self.weights = weights
        self.asked: list[Place] = []

    @hookimpl
    def candidate_taxa(self, place: Place, labels: Any) -> NDArray[np.float32] | None:
        self.asked.append(place)
        if place.country != self.country:
            return None
        names = [labels.taxon(row).common_name for row in range(len(labels))]
        return np.array([self.weights.get(name, 1.0) for name in names], dtype=np.float32)


def test_hook_candidate_taxa(pm: BioclipPluginManager, request_for_fish: ClassifyRequest) -> None:
    warden = Warden("NO", {"a red fish": 0.0})
    pm.register(warden)
    here, there = Place(country="NO", month=5), Place(country="SE", month=5)
    items = [picture("1", RED, here), picture("2", RED, there), picture("3", BLUE, here), picture("4", RED)]
    at_home, abroad, again, nowhere = pm.hook.classify_images(items=items, request=request_for_fish)
    assert probabilities(at_home) == {"a blue fish": 1.0}  # an impossible label is not a candidate
    assert probabilities(again) == {"a blue fish": 1.0}
    for untouched in (abroad, nowhere):
        assert probabilities(untouched) == pytest.approx(
            {"a red fish": LIKELY, "a blue fish": 1 - LIKELY}, abs=TOLERANCE
        )
    assert sorted(place.country or "" for place in warden.asked) == ["NO", "SE"]  # once per distinct place


def test_the_weights_of_several_plugins_multiply(pm: BioclipPluginManager, request_for_fish: ClassifyRequest) -> None:
    pm.register(Warden("NO", {"a red fish": 0.5}))
    pm.register(Warden("NO", {"a red fish": 0.5}))
    answer = pm.hook.classify_images(items=[picture("1", RED, Place(country="NO"))], request=request_for_fish)[0]
    # e × ¼ against 1
    assert probabilities(answer)["a red fish"] == pytest.approx(math.e / (math.e + 4), abs=TOLERANCE)


def test_if_every_label_is_impossible_the_answer_stays_unweighted_and_is_flagged(
    pm: BioclipPluginManager, request_for_fish: ClassifyRequest
) -> None:
    pm.register(Warden("NO", dict.fromkeys(FISH, 0.0)))
    answer = pm.hook.classify_images(items=[picture("1", RED, Place(country="NO"))], request=request_for_fish)[0]
    assert probabilities(answer) == pytest.approx({"a red fish": LIKELY, "a blue fish": 1 - LIKELY}, abs=TOLERANCE)
    assert answer.regions[0].flags == ("prior_ignored",)


def test_weights_of_another_length_are_the_plugins_error(
    pm: BioclipPluginManager, request_for_fish: ClassifyRequest
) -> None:
    class Careless:
        @hookimpl
        def candidate_taxa(self, place: Place, labels: Any) -> NDArray[np.float32]:
            return np.ones(len(labels) + 1, dtype=np.float32)

    pm.register(Careless())
    here, elsewhere = pm.hook.classify_images(
        items=[picture("1", RED, Place(country="NO")), picture("2", RED)], request=request_for_fish
    )
    assert here.failure is not None
    assert (here.failure.stage, here.failure.reason) == (
        "classify", "plugin Careless: candidate_taxa gave (3,) weights; needed are 2 finite numbers from 0"
    )  # fmt: skip
    assert elsewhere.best.name == "a red fish"  # an item without a place is not the plugin's


def test_hook_answers_stored(pm: BioclipPluginManager, tmp_path: Path) -> None:
    """The observer reads the store itself: reported answers must already be there."""
    heard: list[tuple[int, list[str], int]] = []

    class Observer:
        @hookimpl
        def answers_stored(self, run: Run, answers: Sequence[Answer]) -> None:
            with Store.open(tmp_path / "results.db") as store:
                summary = store.summary(run)
            heard.append((run.id, [answer.item.uri for answer in answers], summary.done + summary.failed))

    pm.register(Observer())
    kept = ClassifyRequest(model="fake", labels=FISH, store=str(tmp_path / "results.db"), batch_size=2)
    items = [picture("1", RED), picture("2", BLUE), picture("3", (0, 255, 0)), str(tmp_path / "missing.jpg")]
    pm.hook.classify_images(items=items, request=kept)
    assert [uri for _, uris, _ in heard for uri in uris] == ["1", "2", "3", str(tmp_path / "missing.jpg")]
    assert heard[0][:2] == (1, ["1", "2"])  # by batches, each once it is committed; several may share a transaction
    assert heard[0][2] in (2, 4)
    assert heard[-1][2] == 4
    # Without a store, the hook is not called.
    told = len(heard)
    pm.hook.classify_images(items=items, request=ClassifyRequest(model="fake", labels=FISH))
    assert len(heard) == told


def test_an_observer_that_raises_is_logged_and_loses_no_answer(
    pm: BioclipPluginManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy:
        @hookimpl
        def answers_stored(self, run: Run, answers: Sequence[Answer]) -> None:
            raise OSError("the diary is full")

    pm.register(Clumsy())
    kept = ClassifyRequest(model="fake", labels=FISH, store=str(tmp_path / "results.db"))
    answers = pm.hook.classify_images(items=[picture("1", RED)], request=kept)
    assert answers[0].best.name == "a red fish"
    assert "the diary is full" in caplog.text
    with Store.open(tmp_path / "results.db") as store:
        assert store.summary(store.run()).done == 1


def test_hooks_may_be_called_from_an_observers_thread_without_a_deadlock(
    pm: BioclipPluginManager, tmp_path: Path
) -> None:
    """The observer requests another classification, so the writer's thread must not wait for itself."""
    second: list[str] = []

    class Curious:
        @hookimpl
        def answers_stored(self, run: Run, answers: Sequence[Answer]) -> None:
            found = pm.hook.classify_images(
                items=[picture("again", BLUE)], request=ClassifyRequest(model="fake", labels=FISH)
            )
            second.append(found[0].best.name)

    pm.register(Curious())
    kept = ClassifyRequest(model="fake", labels=FISH, store=str(tmp_path / "results.db"))
    work = threading.Thread(
        target=lambda: pm.hook.classify_images(items=[picture("1", RED)], request=kept), daemon=True
    )
    work.start()
    work.join(timeout=60)
    assert not work.is_alive()
    assert second == ["a blue fish"]


class Filmstrips:
    """Opener of ``.strip`` files: text with one colour per line, each of which is a frame."""

    @hookimpl
    def media_suffixes(self) -> list[str]:
        return [".STRIP"]

    @hookimpl
    def expand_media(self, item: MediaItem, options: ListingOptions) -> list[MediaItem] | None:
        if item.path is None or item.path.suffix != ".strip":
            return None
        frames = len(item.path.read_text().split())
        step = max(1, round(1 / options.frames_per_second))
        return [MediaItem(item.uri, item.path, frame) for frame in range(0, frames, step)]

    @hookimpl
    def open_media(self, item: MediaItem) -> Image.Image | None:
        assert item.path is not None
        colour = item.path.read_text().split()[item.frame]
        if colour == "torn":
            raise RuntimeError("the film is torn")
        return Image.new("RGB", (20, 10), colour)


@pytest.fixture
def strip(pm: BioclipPluginManager, tmp_path: Path) -> Path:
    pm.register(Filmstrips())
    pm.check_pending()
    (tmp_path / "film.strip").write_text("red blue torn")
    return tmp_path


def test_hook_media_suffixes(pm: BioclipPluginManager, strip: Path) -> None:
    assert ".strip" in pm.media_suffixes()
    assert [item.uri for item in Listing([str(strip)], pm.sources())] == [str(strip / "film.strip")]


def test_hook_expand_media(pm: BioclipPluginManager, strip: Path) -> None:
    (strip / "ant.png").write_bytes(b"one image")
    items = list(Listing([str(strip)], pm.sources(), ListingOptions(frames_per_second=0.5), pm.expand))
    assert [(Path(item.uri).name, item.frame) for item in items] == [
        ("ant.png", 0), ("film.strip", 0), ("film.strip", 2),
    ]  # fmt: skip


def test_hook_open_media(pm: BioclipPluginManager, strip: Path, request_for_fish: ClassifyRequest) -> None:
    frames = [MediaItem(str(strip / "film.strip"), strip / "film.strip", frame) for frame in range(3)]
    red, blue, torn = pm.hook.classify_images(items=frames, request=request_for_fish)
    assert probabilities(red)["a red fish"] == pytest.approx(LIKELY, abs=TOLERANCE)
    assert probabilities(blue)["a blue fish"] == pytest.approx(LIKELY, abs=TOLERANCE)
    assert torn.failure is not None
    assert (torn.failure.stage, "the film is torn" in torn.failure.reason) == ("decode", True)


def test_hook_register_rules(pm: BioclipPluginManager, tmp_path: Path) -> None:
    class NoBlue(Rule):
        name = "no-blue"
        description = "Blue is the water."

        def decide(self, subject: Subject) -> Ruling | None:
            if subject.candidates and subject.candidates[0].name == "a blue fish":
                return Ruling("blank", None, "emptied", "it is the water")
            return None

    class Rules:
        @hookimpl
        def register_rules(self, register: Callable[[type[Rule]], None]) -> None:
            register(NoBlue)

    pm.register(Rules())
    assert {"no-blue", "sequences", "geofence"} <= set(pm.rules())
    for name, colour in (("red", RED), ("blue", BLUE)):
        Image.new("RGB", (20, 10), colour).save(tmp_path / f"{name}.png")
    words = tmp_path / "fish.txt"
    words.write_text("\n".join(FISH))
    paths = [str(tmp_path / "red.png"), str(tmp_path / "blue.png")]
    command = ["classify", *paths, "--model", "fake", "--labels", str(words), "--store", str(tmp_path / "r.db")]
    done = CliRunner().invoke(cli.command_line(pm), [*command, "--rule", "no-blue"], obj=pm, catch_exceptions=False)
    with Store.open(tmp_path / "r.db") as store:
        red, blue = (item.regions[0] for item in store.items_of(store.run()))
        assert "no-blue" in {rule["name"] for rule in store.run().rule_settings["rules"]}
    assert red.decision is not None
    assert blue.decision is not None
    assert (red.decision.verdict, blue.decision.verdict) == ("taxon", "blank"), done.output
    assert blue.decision.trail[-1]["why"] == "it is the water"
    assert blue.by_rank["label"][0].name == "a blue fish", "the model's own answer stays"


def test_hook_register_engines(pm: BioclipPluginManager, tmp_path: Path) -> None:
    class Backwards:
        name, description = "backwards", "in this process, the last shard first"

        def is_worker(self) -> bool:
            return False

        def check(self, request: ClassifyRequest, workers: int | None) -> None:
            del request, workers

        def work(self, job: ShardJob) -> Iterator[ShardResult]:
            with closing(
                Worker(job.folder, job.request, pm)
            ) as worker:  # the model is not installed, but in this process
                for shard in reversed(job.shards):
                    result = worker.work(shard)
                    assert result is not None
                    done.append(job.shards.index(shard))
                    yield result

    class Engines:
        @hookimpl
        def register_engines(self, register: Callable[[ExecutionEngine], None]) -> None:
            register(Backwards())

    done: list[int] = []
    pm.register(Engines())
    for number in range(3):
        Image.new("RGB", (16, 16), RED if number else BLUE).save(tmp_path / f"{number}.png")
    (tmp_path / "fish.txt").write_text("\n".join(FISH), "utf-8")
    store = str(tmp_path / "r.db")
    command = ["classify", str(tmp_path), "--model", "fake", "--labels", str(tmp_path / "fish.txt"), "--store", store,
               "--engine", "backwards", "--work-folder", str(tmp_path / "work"), "--shard-size", "1"]  # fmt: skip
    result = CliRunner().invoke(cli.command_line(pm), command, obj=pm)
    assert result.exit_code == 0, result.output
    assert done == [2, 1, 0]
    with Store.open(store) as opened:
        items = list(opened.items_of(opened.run()))
    assert [item.regions[0].by_rank["label"][0].name for item in items] == ["a blue fish", "a red fish", "a red fish"]
    listed = CliRunner().invoke(cli.command_line(pm), ["plugins"], obj=pm)
    assert "backwards" in next(line for line in listed.output.splitlines() if line.startswith("Engines: "))


def test_hook_register_content_filters(pm: BioclipPluginManager) -> None:
    class Small:
        """Scores boxes by how small they are; a whole image cannot be told."""

        name, description = "small", "boxes that are small"
        preprocessing, batch_size = None, 64

        def identity(self, options: FilterOptions) -> Mapping[str, Any]:
            return {"version": 1}

        def open(self, options: FilterOptions) -> Small:
            return self

        def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
            return [None if one.box is None else 1 - one.box[2] * one.box[3] for one in records]

    class Filters:
        @hookimpl
        def register_content_filters(self, register: Callable[[ContentFilter], None]) -> None:
            register(Small())

    pm.register(Filters())
    options = FilterOptions(models=pm.models())
    small = pm.content_filters()["small"]
    assert small.identity(options) == {"version": 1}
    records = [FilterRecord("a", "x.jpg", None, box, None) for box in ((0.0, 0.0, 0.5, 0.5), None)]
    assert small.open(options).score(records) == [0.75, None]
    listed = CliRunner().invoke(cli.command_line(pm), ["plugins"], obj=pm)
    names = next(line for line in listed.output.splitlines() if line.startswith("Content filters: "))
    assert names == "Content filters: small, support-set, empty-frames, people"


def test_hook_register_detectors(pm: BioclipPluginManager) -> None:
    class Middle:
        name, version, side = "middle", "1", 64

        def identity(self) -> Mapping[str, Any]:
            return {"boxes": "the middle half"}

        def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> list[list[Detection]]:
            return [[Detection(0.25, 0.25, 0.5, 0.5, "animal", 0.9)] for _ in images]

    class Detectors:
        @hookimpl
        def register_detectors(self, register: Callable[[Detector], None]) -> None:
            register(Middle())

    pm.register(Detectors())
    assert pm.detectors()["middle"].identity() == {"boxes": "the middle half"}
    listed = CliRunner().invoke(cli.command_line(pm), ["plugins"], obj=pm)
    assert "middle" in next(line for line in listed.output.splitlines() if line.startswith("Detectors: "))


# -- common mistakes of hosts ------------------------------------------------------------------------------------------


def test_an_input_that_is_neither_a_list_nor_an_item_is_misuse(
    pm: BioclipPluginManager, request_for_fish: ClassifyRequest, tmp_path: Path
) -> None:
    for hook in (pm.hook.classify_images, pm.hook.embed_images):
        with pytest.raises(UsageError, match="give a list of images"):
            hook(items="photo.jpg", request=request_for_fish)
    for name in ("taxa", "rules"):
        with pytest.raises(UsageError, match=f"{name} 'Aves': give a tuple"):
            ClassifyRequest(**{name: "Aves"})  # type: ignore[arg-type]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"captured_at": "2024-01-01T00:00:00"}, "give a datetime"),
        ({"regions": [(0, 0, 1, 1)]}, r"give a Region\(x, y, w, h\)"),
    ]
    for given, said in wrong:
        with pytest.raises(UsageError, match=f"a.png: .*{said}"):
            pm.hook.classify_images(items=[MediaItem("a.png", **given)], request=request_for_fish)
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.png")
    item = MediaItem("a.png", path=str(tmp_path / "a.png"))  # type: ignore[arg-type]
    (answer,) = pm.hook.classify_images(items=[item], request=request_for_fish)
    assert answer.failure is None


def test_hook_order_for_review(pm: BioclipPluginManager) -> None:
    """Each plugin with the hook is a strategy; reviewed items are left out, and what cannot be used names the plugin."""
    items = ReviewItems(
        np.array([0, 1, 1, 0], dtype=np.int32), ("Vulpes vulpes", "Lynx lynx"), np.array([0.9, 0.6, 0.8, 0.7], dtype=np.float32),
        np.zeros(4, dtype=np.float32), *np.full((2, 4), -1, dtype=np.int32), np.array([False, False, True, False]),
    )  # fmt: skip

    class LynxFirst:
        gives: Any = None

        @hookimpl
        def order_for_review(self, items: ReviewItems) -> Any:
            with pytest.raises(ValueError, match="read-only"):
                items.probability_N[0] = 1.0
            return self.gives if self.gives is not None else np.lexsort((items.probability_N, -items.taxon_N))

    assert pm.hook.order_for_review(items=items) is None
    lynx = LynxFirst()
    pm.register(lynx, "lynx-first")
    assert pm.hook.order_for_review(items=items).tolist() == [1, 2, 3, 0]
    (strategy,) = strategies_of(pm)
    assert (strategy.name, strategy.order(items, 2, 0).tolist()) == ("plugin:lynx-first", [1, 3])
    for garbage, said in (
        ([0, 4], "the item 4"),
        ([1, 1], "the item 1 more than once"),
        ([0.5], r"from 0 to 3"),
        (7, "7;"),
        ("ab", "'?ab"),
    ):
        lynx.gives = garbage
        with pytest.raises(PluginError, match=f"plugin lynx-first: order_for_review gave .*{said}"):
            strategy.order(items, 2, 0)
