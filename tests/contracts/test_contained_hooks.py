"""One plugin per hook that raises and one that returns garbage: what the user of the command line and the host see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from plugin_samples import BLUE, COMMON, RED, STRIP, Broken, House, MuteError, OwnError, gives, house, one_of, raises

from bioclip_core.errors import ImageError, PluginError, SourceError
from bioclip_plugin import Answer, MediaItem, Place, Session, hookimpl
from bioclip_plugin.hookspecs import hookspec
from bioclip_plugin.plugin_api import ListingOptions, Unlisted
from bioclip_plugin.store import Store
from bioclip_training.loop.recipe import TrainConfig

__all__ = ["house"]

FELL = RuntimeError("it fell over\nand over")
SAID = "RuntimeError: it fell over"
CLASSIFY = ("classify", RED, STRIP, *COMMON)
HERE = MediaItem(RED, Path(RED), place=Place(country="NO"))


@dataclass(frozen=True)
class Case:
    """A plugin with one broken hook, and what is seen of it."""

    hook: str
    does: Callable[..., Any]
    reason: str
    """Text of the fault behind the name of the plugin."""
    command: tuple[str, ...] = ()
    """Command of the user."""
    code: int = 0
    others: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Further hooks of the plugin, which are right."""

    def __str__(self) -> str:
        return f"{self.hook}-{self.reason[:30]}"


def _of_strips(expands: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``expand_media`` that leaves photos alone."""
    return lambda item, options: expands(item, options) if item.uri == STRIP else None


SUFFIX = {"media_suffixes": gives([".strip"])}
TRAIN = ("train", "--data", "catalog.csv", "--start", "demo", "--output", "trained")

AT_WORK = [
    Case("expand_media", _of_strips(raises(FELL)), f"expand_media failed: {SAID}", CLASSIFY, 3, SUFFIX),
    Case(
        "expand_media",
        _of_strips(gives("abc")),
        "expand_media gave 'abc'; a list or a generator is needed",
        CLASSIFY,
        3,
        SUFFIX,
    ),
    Case("open_media", raises(FELL), f"open_media failed: {SAID}", CLASSIFY, 3, SUFFIX),
    Case(
        "open_media",
        gives("abc"),
        "open_media returned 'abc'; an image of Pillow or None is needed",
        CLASSIFY,
        3,
        SUFFIX,
    ),
    Case(
        "answers_stored",
        raises(FELL),
        f"answers_stored failed: {SAID} (the answers are stored)",
        ("classify", RED, *COMMON),
    ),
    Case("train_model", raises(FELL), f"train_model failed: {SAID}", TRAIN, 1),
    Case("train_model", gives("done"), "train_model returned 'done'; a TrainResult is needed", TRAIN, 1),
    Case("plan_training", raises(FELL), f"plan_training failed: {SAID}", (*TRAIN, "--plan"), 1),
    Case(
        "plan_training", gives("soon"), "plan_training returned 'soon'; a TrainingPlan is needed", (*TRAIN, "--plan"), 1
    ),
]


@pytest.mark.parametrize("case", AT_WORK, ids=str)
def test_at_work_the_user_sees_the_name_of_the_plugin_and_the_run_goes_on(
    house: House, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    house.register(**{case.hook: case.does}, **case.others)
    code, output = house.run(capsys, *case.command)
    assert code == case.code, output
    assert f"plugin broken: {case.reason}" in " ".join(output.split())
    if case.command[0] == "classify":
        with Store.open("r.db") as store:
            assert store.summary(store.run()).done == 1  # the red photo
    assert house.run(capsys, "plugins")[0] == 0


REGISTERING = [
    ("register_models", gives(None), "a ModelEntry is needed", lambda register: register("fake-2")),
    ("register_sources", gives(None), "the name of a source is None", lambda register: register(5)),
    ("register_exporters", gives(None), "the name of a format is None", lambda register: register(dict)),
    ("register_rules", gives(None), "a subclass of Rule is needed", lambda register: register(int)),
    ("register_detectors", gives(None), "the name of a detector is None", lambda register: register(dict)),
    ("register_engines", gives(None), "the name of an engine is None", lambda register: register(dict)),
    ("register_content_filters", gives(None), "the name of a content filter is None", lambda register: register(dict)),
    ("register_commands", gives(None), "a click command is needed", lambda cli: cli.add_command("greet", "greet")),
    ("media_suffixes", gives([]), "media_suffixes returned '.strip'; a list such as ['.mp4'] is needed", gives(".strip")),
]  # fmt: skip


@pytest.mark.parametrize(("hook", "right", "reason", "garbage"), REGISTERING, ids=[row[0] for row in REGISTERING])
def test_at_registration_a_plugin_is_refused_as_a_whole(
    house: House, capsys: pytest.CaptureFixture[str], hook: str, right: Any, reason: str, garbage: Any
) -> None:
    for error in (FELL, SystemExit(3), OwnError("own"), MuteError(), GeneratorExit()):
        said = house.refused(**{hook: raises(error)}, candidate_taxa=gives(None))
        assert said.startswith(f"plugin broken: {hook} failed: {type(error).__name__}")
        assert "\n" not in said
    assert reason in house.refused(**{hook: garbage}, candidate_taxa=gives(None))
    assert house.manager.hook.candidate_taxa.get_hookimpls() == []  # none of its hooks is left
    code, output = house.run(capsys, "--help")
    assert (code, "classify" in output) == (0, True)
    house.register(**{hook: right})  # and it can be registered once it is right
    with pytest.raises(KeyboardInterrupt):
        house.manager.register(Broken(**{hook: raises(KeyboardInterrupt())}), name="interrupted")


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        ("ab", "classify_images returned 'ab'; a list is needed"),
        ([], "classify_images returned 0 results for 2 items; one per item is needed"),
        ([1, 2], "classify_images returned 1 for an item; an Answer is needed"),
        ([Answer(MediaItem(BLUE)), Answer(MediaItem(RED))], f"returned an answer for {BLUE} where that for {RED} belongs"),
        ([Answer(MediaItem(RED)), Answer(MediaItem(BLUE), ("x",))], f"the answer for {BLUE} has the regions"),  # type: ignore[arg-type]
        ((answer for answer in ()), "classify_images returned a value of type generator"),
    ],
)  # fmt: skip
def test_a_host_sees_the_name_of_a_plugin_that_answers_with_garbage(house: House, garbage: Any, said: str) -> None:
    house.register(classify_images=gives(garbage))
    with pytest.raises(PluginError, match=r"^plugin broken: ") as caught:
        house.answers(RED, BLUE)
    assert said in str(caught.value)


def test_a_host_sees_the_name_of_a_plugin_that_raises(house: House) -> None:
    house.register(classify_images=raises(SystemExit(2)), embed_images=raises(MuteError()))
    with pytest.raises(PluginError, match=r"^plugin broken: classify_images failed: SystemExit: 2$"):
        house.answers(RED)
    with pytest.raises(
        PluginError, match=r"^plugin broken: embed_images failed: MuteError: \(its text cannot be shown\)$"
    ):
        house.manager.hook.embed_images(items=[RED], request=house.request())
    house.register_another(train_model=raises(OwnError("x")))
    with pytest.raises(PluginError, match=r"^plugin broken: train_model failed: OwnError: x$"):
        house.manager.hook.train_model(config=TrainConfig(data="x", start="demo", output="y"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.full((1, 3), np.nan), "embed_images, item 1: its features are not finite numbers"),
        (np.ones((1, 3)), "item 1: its features have the length 1.73; needed are features of length 1"),
        (np.ones(3), "item 1, returned an array of shape (3,) and type float64; needed are N × D numbers"),
        ([[1, 0, 0]], "item 1, returned list [[1, 0, 0]]"),
    ],
)
def test_features_that_are_garbage_do_not_reach_the_host(house: House, rows: Any, said: str) -> None:
    house.register(embed_images=gives([rows]))
    with pytest.raises(PluginError, match=r"^plugin broken: ") as caught:
        house.manager.hook.embed_images(items=[RED], request=house.request())
    assert said in str(caught.value)


def test_a_plugin_that_changes_the_list_of_items_changes_a_copy(house: House) -> None:
    house.register(classify_images=lambda items, _request: items.clear())
    assert house.answers(RED, BLUE) == ["a red fish", "a blue fish"]


@pytest.mark.parametrize(
    ("weighs", "said"),
    [
        (raises(FELL), f"candidate_taxa failed: {SAID}"),
        (
            gives(np.array([-1.0, 1.0])),
            "(2,) weights, some of which are negative or not finite; needed are 2 finite numbers",
        ),
        (gives(np.array([np.nan, 1.0])), "(2,) weights, some of which are negative or not finite"),
        (gives(["1", "2"]), "candidate_taxa gave list ['1', '2']; needed are 2 finite numbers from 0"),
        (gives([1e300, 1.0]), "some of which are negative or not finite"),
        (lambda _place, labels: labels.kept_N.fill(0), "ValueError: assignment destination is read-only"),
    ],
)
def test_weights_that_are_garbage_are_a_failure_of_the_items_at_that_place(
    house: House, weighs: Any, said: str
) -> None:
    house.register(candidate_taxa=weighs)
    here, elsewhere = house.answers(HERE, BLUE)
    assert here.startswith("classify: plugin broken: ")
    assert said in here
    assert elsewhere == "a blue fish"


# -- images that plugins open ------------------------------------------------------------------------------------------


class _Lazy(Image.Image):
    def load(self) -> Any:
        raise OSError("the film tore")


def _closed() -> Image.Image:
    image = Image.new("RGB", (4, 4))
    image.close()
    return image


@pytest.mark.parametrize(
    ("opens", "said"),
    [
        (lambda _item: _closed(), "decode: plugin broken: open_media failed: ValueError: Operation on closed image"),
        (lambda _item: _Lazy(), "decode: plugin broken: open_media failed: OSError: the film tore"),
        (lambda _item: Image.new("RGB", (0, 5)), "decode: plugin broken: open_media returned an image of 0 x 5 pixels"),
        (raises(ImageError("torn", stage="read")), "read: plugin broken: torn"),
        (raises(SystemExit(2)), "decode: plugin broken: open_media failed: SystemExit: 2"),
        (lambda item: item.metadata.update(a=1), "decode: plugin broken: open_media failed: AttributeError"),
    ],
)
def test_an_image_that_cannot_be_used_is_a_failure_of_its_item(house: House, opens: Any, said: str) -> None:
    house.register(**SUFFIX, open_media=opens)
    failed, red = house.answers(MediaItem(STRIP, metadata={"b": 2}), RED)
    assert failed.startswith(said)
    assert red == "a red fish"


@pytest.mark.parametrize(("mode", "value"), [("F", 1e9), ("I", 1 << 20), ("1", 1), ("LAB", (9, 9, 9)), ("I;16", 9)])
def test_an_image_of_an_unusual_mode_is_answered(house: House, mode: str, value: Any) -> None:
    house.register(**SUFFIX, open_media=lambda _item: Image.new(mode, (1, 1), value))
    assert house.answers(STRIP)[0] in ("a red fish", "a blue fish")


# -- listing -----------------------------------------------------------------------------------------------------------


def _half(item: MediaItem, _options: ListingOptions) -> Iterator[MediaItem]:
    yield MediaItem(item.uri, Path(RED))
    raise FELL


@pytest.mark.parametrize(
    ("expands", "listed", "reason"),
    [
        (_half, 2, f"expand_media failed: {SAID}"),
        (lambda item, _options: iter(lambda: item, 0), 2, f"expand_media gave the part 0 of {STRIP} twice"),
        (gives([]), 1, "expand_media gave no parts; None is needed for an item that is not the plugin's"),
        (lambda _item, _options: iter(()), 1, "expand_media gave no parts; None is needed for"),
        (gives([None]), 1, "listed None; a MediaItem or an Unlisted is needed"),
        (gives([Unlisted(STRIP, "")]), 1, f"listed {STRIP} as Unlisted with the reason ''; a sentence is needed"),
        (raises(SourceError("no film")), 1, "no film"),
    ],
)
def test_parts_that_cannot_be_listed_are_one_failure_and_the_listing_goes_on(
    house: House, expands: Any, listed: int, reason: str
) -> None:
    house.register(**SUFFIX, expand_media=_of_strips(expands))
    with (
        Session(model="fake", labels="fish.txt", plugins=house.manager) as session,
        session.listing([STRIP, RED]) as items,
    ):
        *parts, red = list(items)
    assert len(parts) == listed
    assert isinstance(parts[-1], Unlisted)
    assert parts[-1].reason.startswith(f"plugin broken: {reason}")
    assert red.uri == RED
    assert len({(part.uri, part.frame) for part in parts}) == listed


def test_a_plugin_is_asked_only_about_files_of_its_own_suffixes(house: House) -> None:
    asked: list[str] = []
    Path("film.reel").write_text("a reel", "utf-8")
    house.manager.register(Broken(media_suffixes=gives([".reel"])), name="other")
    house.register(
        **SUFFIX,
        expand_media=lambda item, _options: asked.append(f"expand {item.uri}"),
        open_media=lambda item: asked.append(f"open {item.uri}"),
    )
    with (
        Session(model="fake", labels="fish.txt", plugins=house.manager) as session,
        session.listing([RED, "film.reel", STRIP]) as items,
    ):
        answers = list(session.classify_stream(items))
    assert [answer.failure is None for answer in answers] == [True, False, False]
    assert asked == [f"expand {STRIP}", f"open {STRIP}"]


def test_an_opener_that_does_not_end_is_named(house: House) -> None:
    end = threading.Event()
    house.register(**SUFFIX, open_media=lambda _item: end.wait(30) and None)
    try:
        strip, red = house.answers(MediaItem(STRIP, Path(STRIP)), RED, item_timeout=0.5)
    finally:
        end.set()
    assert strip.startswith("decode: plugin broken: open_media did not end within 0.5 s and was given up")
    assert red == "a red fish"


# -- observers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "does", [raises(OSError("the diary is full")), raises(SystemExit()), lambda _run, answers: answers.clear()]
)
def test_an_observer_that_fails_does_not_keep_the_others_from_their_answers(house: House, does: Any) -> None:
    heard: list[int] = []
    house.manager.register(Broken(answers_stored=lambda _run, answers: heard.append(len(answers))), name="diary")
    house.register(answers_stored=does)  # registered later, so called first
    assert house.answers(RED, BLUE, store="r.db") == ["a red fish", "a blue fish"]
    assert heard == [2]


# -- wrappers ----------------------------------------------------------------------------------------------------------


def _drops(_outcome: Any) -> Any:
    return None


def _fails(_outcome: Any) -> Any:
    raise FELL


@pytest.mark.parametrize(
    ("end", "said"), [(_drops, "returned nothing in place of the result"), (_fails, f"failed: {SAID}")]
)
def test_a_wrapper_that_swallows_a_result_or_fails_is_named(house: House, end: Any, said: str) -> None:
    class Wrapper:
        @hookimpl(wrapper=True)
        def classify_images(self) -> Iterator[None]:
            return end((yield))

    class OldWrapper:
        @hookimpl(hookwrapper=True)
        def embed_images(self) -> Iterator[None]:
            outcome = yield
            outcome.force_result(end(outcome))

    house.manager.register(Wrapper(), name="new")
    house.manager.register(OldWrapper(), name="old")
    with pytest.raises(PluginError, match=f"^plugin new: the wrapper of classify_images {said}"):
        house.answers(RED)
    with pytest.raises(PluginError, match=f"^plugin old: the wrapper of embed_images {said}"):
        house.manager.hook.embed_images(items=[RED], request=house.request())


def test_a_wrapper_that_does_its_work_is_kept(house: House) -> None:
    seen: list[str] = []

    class Wrapper:
        @hookimpl(wrapper=True)
        def classify_images(self, items: Any) -> Any:
            answers = yield
            seen.extend(answer.best.name for answer in answers)
            return list(reversed(list(reversed(answers))))

    house.manager.register(Wrapper())
    assert house.answers(RED) == seen == ["a red fish"]


# -- calling back ------------------------------------------------------------------------------------------------------


def test_an_observer_may_call_its_own_session_and_an_opener_the_hook(house: House) -> None:
    heard: list[str] = []
    sessions: list[Session] = []

    def observe(_run: Any, _answers: Any) -> None:
        if not heard:
            heard.append("")
            heard[0] = sessions[0].classify(BLUE).best.name  # type: ignore[union-attr]

    house.register(
        **SUFFIX,
        answers_stored=observe,
        open_media=lambda _item: Image.open(RED) if house.answers(BLUE) == ["a blue fish"] else None,
    )
    with Session(model="fake", labels="fish.txt", store="r.db", plugins=house.manager) as session:
        sessions.append(session)
        assert session.classify(STRIP).best.name == "a red fish"  # type: ignore[union-attr]
    assert heard == ["a blue fish"]


def test_the_working_directory_is_kept_from_plugins(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path.cwd()
    house.register(**SUFFIX, register_models=lambda _register: monkeypatch.chdir("/"))
    assert Path.cwd() == before
    assert house.answers(RED) == ["a red fish"]


def test_a_plugin_may_register_another_one_in_its_hook(house: House) -> None:
    def register(_register: Any) -> None:
        if not house.manager.has_plugin("inner"):
            house.manager.register(
                Broken(register_sources=one_of(name="shelf", takes=gives(False), items=gives([]))), name="inner"
            )

    house.register(register_models=register)
    assert house.manager.sources()[0].name == "shelf"


def test_a_hook_of_the_hosts_own_is_not_touched(house: House) -> None:
    class Specs:
        @hookspec
        def greet(self, name: str) -> str:  # type: ignore[empty-body]
            """Greet somebody."""

    class Greeter:
        @hookimpl
        def greet(self, name: str) -> str:
            return f"hello {name}"

    house.manager.add_hookspecs(Specs)
    house.manager.register(Greeter())
    assert house.manager.hook.greet(name="wren") == ["hello wren"]
