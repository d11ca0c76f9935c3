"""Models, sources, exporters, rules and commands of plugins that break their contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from plugin_samples import BLUE, COMMON, RED, Broken, House, OwnError, gives, house, one_of, one_rule, raises

from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError, PluginError, SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, Place, Region, Session
from bioclip_plugin.plugin_api import EventKey, ListingOptions, ModelEntry, Problem, Ruling, Unlisted
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeEncoder

__all__ = ["house"]

DOWN = RuntimeError("the service is down\nagain")
SAID = "RuntimeError: the service is down"


# -- models ------------------------------------------------------------------------------------------------------------


def _model(**members: Any) -> Callable[..., Any]:
    """Return a ``register_models`` with a model of colours whose encoder has these members."""
    encoder = FakeEncoder("odd")
    for name, value in members.items():
        setattr(encoder, name, value)
    pinned = {"size": 8, "resize_mode": "squash"}
    entry = ModelEntry("odd", "odd", preprocessing=pinned, open_encoder=lambda _compute: encoder, dimension=3)
    return lambda register: register(entry)


def _encoded(change: Callable[[NDArray[np.float16]], Any]) -> Callable[..., Any]:
    return lambda images: change(FakeEncoder("right").encode_images(images))


def _first_is_nan(rows_BD: NDArray[np.float16]) -> NDArray[np.float16]:
    rows_BD[0] = np.nan
    return rows_BD


@pytest.mark.parametrize(
    ("encodes", "said"),
    [
        (raises(DOWN), f"encode_images of odd failed: {SAID}"),
        (raises(SystemExit()), "encode_images of odd failed: SystemExit"),
        (gives(None), "encode_images of odd returned None; needed are 2 × 3 numbers"),
        (_encoded(lambda rows: rows[:1]), "encode_images of odd returned 1 × 3 numbers; needed are 2 × 3 numbers"),
        (_encoded(lambda rows: rows.tolist()), "encode_images of odd returned list [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]"),
        (_encoded(lambda rows: rows.ravel()), "returned an array of shape (6,) and type float16"),
        (
            _encoded(lambda rows: rows * 3),
            "its features have the length 3; needed are features of length 1 (L2-normalised)",
        ),
    ],
)
def test_a_batch_that_an_encoder_fails_at_is_a_failure_of_its_items(house: House, encodes: Any, said: str) -> None:
    house.register(register_models=_model(encode_images=encodes))
    for answer in house.answers(RED, BLUE, model="odd", store="r.db"):
        assert answer.startswith("encode: plugin broken: ")
        assert said in answer
    with Store.open("r.db") as store:
        assert store.summary(store.run()).failed == 2
        assert store.summary(store.run()).done == 0


def test_of_a_batch_only_the_image_whose_row_is_bad_fails(house: House) -> None:
    house.register(register_models=_model(encode_images=_encoded(_first_is_nan)))
    assert house.answers(RED, BLUE, model="odd", store="r.db") == [
        "encode: plugin broken: its features are not finite numbers", "a blue fish"
    ]  # fmt: skip
    features = house.manager.hook.embed_images(items=[RED, BLUE], request=house.request(model="odd"))
    assert features[0] is None
    assert features[1].tolist() == [[0.0, 0.0, 1.0]]


def test_of_a_masked_array_only_the_masked_rows_fail(house: House) -> None:
    # By colour: the images of a batch are in the order in which they were read.
    masked = _encoded(lambda rows: np.ma.masked_array(rows, np.repeat(rows.argmax(1, keepdims=True) == 0, 3, axis=1)))
    house.register(register_models=_model(encode_images=masked))
    assert house.answers(RED, BLUE, model="odd", store="r.db") == [
        "encode: plugin broken: its features are not finite numbers", "a blue fish"
    ]  # fmt: skip


class _OwnArray(np.ndarray[Any, Any]):
    """An array of the plugin's own."""


def test_an_array_of_the_plugins_own_is_taken_for_a_plain_one(house: House) -> None:
    house.register(register_models=_model(encode_images=_encoded(lambda rows: rows.view(_OwnArray))))
    assert house.answers(RED, BLUE, model="odd") == ["a red fish", "a blue fish"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"dimension": 5}, "the encoder of odd has features of 5 numbers; its entry says 3"),
        (
            {"logit_scale": float("nan")},
            "the encoder of odd has the logit scale nan and the bias 0.0; finite numbers are needed",
        ),
        ({"logit_scale": -1.0}, "the encoder of odd has the scale -1.0: a number from 0.001 to 10000 is needed"),
        ({"logit_scale": 1e6}, "the encoder of odd has the scale 1000000.0: a number from 0.001 to 10000 is needed"),
        ({"identity": None}, "the encoder of odd has the identity None"),
        ({"encode_texts": raises(DOWN)}, f"encode_texts of odd failed: {SAID}"),
        (
            {"encode_texts": lambda _texts: np.eye(3)[:1]},
            "encode_texts of odd returned 1 × 3 numbers; needed are 2 × 3 numbers",
        ),
        (
            {"encode_texts": lambda _texts: np.full((2, 3), np.nan)},
            "'a photo of a red fish.': its features are not finite numbers",
        ),
    ],
)
def test_a_model_that_cannot_be_opened_is_one_line(
    house: House, capsys: pytest.CaptureFixture[str], members: dict[str, Any], said: str
) -> None:
    house.register(register_models=_model(**members))
    code, output = house.run(capsys, "classify", RED, "--model", "odd", "--labels", "fish.txt", "--store", "r.db")
    assert code == 1
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: plugin broken: ")
    assert said in line


def test_an_opener_that_exits_does_not_end_the_host(house: House) -> None:
    entry = ModelEntry("odd", "odd", open_encoder=raises(SystemExit(3)))
    house.register(register_models=lambda register: register(entry))
    with pytest.raises(PluginError, match=r"^plugin broken: opening the model odd failed: SystemExit: 3$"):
        house.answers(RED, model="odd")


@pytest.mark.parametrize("name", [None, "", "a b", "hf-hub:org/name", 5, "-x", "a" * 101, "a\nb", "demo", "fake"])
def test_a_name_that_cannot_be_typed_or_is_taken_is_refused(house: House, name: Any) -> None:
    said = house.refused(register_models=lambda register: register(ModelEntry(name, "somewhere")))
    assert ("is registered already, by" in said) == (name in ("demo", "fake"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preprocessing": {"size": "big"}}, "register_models failed: ValueError: invalid literal"),
        ({"preprocessing": {"resize_mode": "melt"}}, "melt"),
        ({"preprocessing": None}, "the model m has the preprocessing None; a mapping is needed"),
        ({"labels": "theirs"}, "the model m has the labels 'theirs'; PublishedLabels are needed"),
        ({"dimension": 0}, "the model m has the dimension 0; a whole number from 1 is needed"),
        ({"open_encoder": 5}, "the model m has the open_encoder 5; a function is needed"),
        ({"source": ""}, "the model m has texts that are not texts, or no source"),
    ],
)
def test_a_model_entry_with_fields_that_cannot_be_used_is_refused(
    house: House, fields: dict[str, Any], said: str
) -> None:
    assert said in house.refused(
        register_models=lambda register: register(ModelEntry("m", **{"source": "s", **fields}))
    )


# -- sources -----------------------------------------------------------------------------------------------------------


def _source(**members: Any) -> Callable[..., Any]:
    return one_of(**{"name": "shelf", "takes": lambda _self, address: address == RED, "items": gives([]), **members})


class _Zone(tzinfo):
    """A zone that raises when it is asked for the second time."""

    asked = 0

    def utcoffset(self, _moment: datetime | None) -> timedelta:
        self.asked += 1
        if self.asked > 1:
            raise RuntimeError("which zone?")
        return timedelta(0)


class _Evasive(MediaItem):
    """An item that does not tell its name."""

    def __init__(self) -> None:
        """Leave every field as it is."""

    @property
    def uri(self) -> str:  # type: ignore[override]
        raise RuntimeError("guess")


WRONG: list[tuple[Any, str, str]] = [
    (None, f"{RED}#entry=1", "listed None; a MediaItem or an Unlisted is needed"),
    (MediaItem(5), f"{RED}#entry=2", "listed an item with the uri 5; a text is needed"),  # type: ignore[arg-type]
    (MediaItem("a", captured_at="x"), "a", "the item a has captured_at 'x', which cannot be used"),  # type: ignore[arg-type]
    (MediaItem("b", place="here"), "b", "the item b has the place 'here', which cannot be used"),  # type: ignore[arg-type]
    (MediaItem("c", regions=[(0, 0, 1, 1)]), "c", "the item c has regions list [(0, 0, 1, 1)]"),  # type: ignore[arg-type]
    (MediaItem("d", frame=-1), "d", "listed an item with the frame -1; a whole number from 0 is needed"),
    (MediaItem("e", metadata={"a": {1: 2}}), "e", "the item e has metadata dict {'a': {1: 2}}"),
    (Unlisted("f", None), "f", "listed f as Unlisted with the reason None; a sentence is needed"),  # type: ignore[arg-type]
    (MediaItem("g", image="pixels"), "g", "the item g has image 'pixels'"),  # type: ignore[arg-type]
    (
        MediaItem("i", captured_at=datetime(2020, 1, 1, tzinfo=_Zone())),
        "i",
        "reading an entry of the source shelf failed: RuntimeError",
    ),
    (MediaItem("j", regions=(Region(0, 0, 1, 1, detector=5),)), "j", "the item j has regions a value of type tuple"),  # type: ignore[arg-type]
    (MediaItem("k", place=Place(latitude=float("nan"))), "k", "the item k has the place"),
    (_Evasive(), f"{RED}#entry=13", "reading an entry of the source shelf failed: RuntimeError: guess"),
    (MediaItem("h", data=5), "h", "the item h has data 5"),  # type: ignore[arg-type]
]


def test_an_entry_that_cannot_be_used_is_a_failure_of_its_own_and_the_others_are_listed(house: House) -> None:
    house.register(register_sources=_source(items=gives([*(entry for entry, _, _ in WRONG), MediaItem(BLUE)])))
    *failed, blue = Listing([RED], house.manager.sources())
    for entry, (_, uri, said) in zip(failed, WRONG, strict=True):
        assert isinstance(entry, Unlisted)
        assert entry.uri == uri
        assert entry.reason.startswith(f"plugin broken: {said}")
    assert blue.uri == BLUE


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["first", *"ab"]])
def test_a_source_that_repeats_itself_for_ever_ends_with_a_failure(house: House, names: list[str]) -> None:
    def items(*_: Any) -> Iterator[MediaItem]:
        yield from map(MediaItem, names)
        while True:
            yield from map(MediaItem, names[-2:])

    house.register(register_sources=_source(items=items))
    *_, last = Listing([RED], house.manager.sources())
    assert isinstance(last, Unlisted)
    assert last.reason.startswith("plugin broken: the source shelf gave the item ")
    assert last.reason.endswith("; it seems to be endless")


def test_a_source_may_list_an_image_many_times(house: House) -> None:
    house.register(register_sources=_source(items=gives([MediaItem(BLUE)] * 900)))
    assert [one.uri for one in Listing([RED], house.manager.sources())] == [BLUE] * 900


def test_an_image_of_a_source_that_fails_when_it_is_read_names_the_plugin(house: House) -> None:
    Path("torn.png").write_bytes(Path(RED).read_bytes()[:-30])
    house.register(register_sources=_source(items=lambda *_: [MediaItem("torn", image=Image.open("torn.png"))]))
    with (
        Session(model="fake", labels="fish.txt", plugins=house.manager) as session,
        session.listing([RED, BLUE]) as items,
    ):
        torn, blue = session.classify_stream(items)
    assert torn.failure is not None
    assert torn.failure.reason.startswith("plugin broken: its image cannot be used: ")
    assert blue.failure is None


def _half(*_given: Any) -> Iterator[MediaItem]:
    yield MediaItem(BLUE)
    raise DOWN


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (_half, f"the source shelf failed: {SAID}"),
        (gives("abc"), "the source shelf gave 'abc'; a list or a generator is needed"),
        (gives(None), "the source shelf gave None; a list or a generator is needed"),
        (raises(SystemExit(4)), "the source shelf failed: SystemExit: 4"),
    ],
)
def test_a_source_that_fails_is_a_failure_and_the_next_address_is_listed(house: House, items: Any, reason: str) -> None:
    house.register(register_sources=_source(items=items))
    *_, failed, blue = Listing([RED, BLUE], house.manager.sources())
    assert isinstance(failed, Unlisted)
    assert failed.reason == f"plugin broken: {reason}"
    assert blue.uri == BLUE


@pytest.mark.parametrize("takes", [raises(DOWN), gives("yes"), gives(None)])
def test_a_source_that_cannot_say_what_it_takes_is_reported_and_the_others_are_asked(house: House, takes: Any) -> None:
    house.register(register_sources=_source(takes=takes))
    options = ListingOptions()
    assert [item.uri for item in Listing([RED, BLUE], house.manager.sources(), options)] == [RED, BLUE]
    (line,) = options.findings.lines()
    assert line.startswith(
        "sources of plugins failed and were not asked: 1 (the first: plugin broken: takes of the source shelf"
    )
    with pytest.raises(SourceError, match="does not exist"):
        Listing(["gone"], house.manager.sources())


def test_an_address_that_a_source_refuses_ends_the_command_with_its_reason(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.register(register_sources=_source(items=raises(SourceError("the shelf is locked"))))
    code, output = house.run(capsys, "classify", RED, *COMMON)
    assert (code, output.splitlines()[-1]) == (1, "Error: plugin broken: the shelf is locked")


def test_reviews_that_are_garbage_end_the_command_after_the_answers(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.register(register_sources=_source(items=gives([MediaItem(RED)]), reviews=gives(["good"])))
    code, output = house.run(capsys, "classify", RED, *COMMON)
    assert code == 1
    assert "Error: plugin broken: reviews of the source shelf gave 'good'; a StatedReview is needed" in output
    with Store.open("r.db") as store:
        assert store.summary(store.run()).done == 1


# -- exporters ---------------------------------------------------------------------------------------------------------


def _write(_self: Any, path: Path, _export: Any) -> int:
    path.write_text("x", "utf-8")
    return 1


def _exporter(**members: Any) -> Callable[..., Any]:
    whole = {
        "name": "tally",
        "description": "It counts.",
        "folder": False,
        "write": _write,
        "recognises": gives(False),
        "check": gives([]),
    }
    return one_of(**{**whole, **members})


def _half_checked(*_given: Any) -> Iterator[Problem]:
    yield Problem("out", "", "a fault", severity="warning")
    raise DOWN


EXPORT = ("export", "--store", "r.db", "--format", "tally", "--output", "out")


@pytest.mark.parametrize(
    ("members", "code", "said"),
    [
        ({"write": raises(DOWN)}, 1, f"write of the format tally failed: {SAID}"),
        ({"write": raises(SystemExit(0))}, 1, "write of the format tally failed: SystemExit: 0"),
        ({"write": raises(UsageError("give --time-zone"))}, 2, "give --time-zone"),
        ({"write": gives(1)}, 1, "write of the format tally did not write the file"),
        ({"write": lambda _self, path, _export: path.mkdir()}, 1, "write of the format tally did not write the file"),
        (
            {"write": lambda *given: bool(_write(*given))},
            1,
            "write of the format tally returned True; the number of rows is needed",
        ),
        ({"check": _half_checked}, 1, f"check of the format tally failed: {SAID}"),
        ({"check": gives(["bad"])}, 1, "check of the format tally returned 'bad'; a Problem is needed"),
        ({"check": gives(None)}, 1, "check of the format tally gave None; a list or a generator is needed"),
        (
            {"write": raises(DOWN), "abandoned": raises(OwnError("x")), "committed": gives([])},
            1,
            f"tally failed: {SAID}",
        ),
        ({"committed": raises(DOWN), "abandoned": gives(None)}, 1, f"committed of the format tally failed: {SAID}"),
    ],
)
def test_an_exporter_that_fails_ends_the_command_with_one_line(
    house: House, capsys: pytest.CaptureFixture[str], members: dict[str, Any], code: int, said: str
) -> None:
    house.answers(RED, store="r.db")
    house.register(register_exporters=_exporter(**members))
    found, output = house.run(capsys, *EXPORT)
    assert found == code
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: plugin broken: ")
    assert said in line
    if "committed" not in said:
        assert not Path("out").exists()
    assert not list(Path().glob(".out*"))


def _rewrites(_self: Any, path: Path, _options: Any) -> list[Problem]:
    path.write_text("another text", "utf-8")
    return []


def _deletes(_self: Any, path: Path, _options: Any) -> list[Problem]:
    path.unlink()
    return []


@pytest.mark.parametrize("check", [_rewrites, _deletes])
def test_a_check_that_changes_the_file_is_refused_and_named(
    house: House, capsys: pytest.CaptureFixture[str], check: Any
) -> None:
    house.register(register_exporters=_exporter(check=check))
    house.run(capsys, "classify", RED, *COMMON)
    code, output = house.run(capsys, "export", "--store", "r.db", "--format", "tally", "--output", "out.tally")
    assert code == 1
    assert "Error: plugin broken: check of the format tally changed or removed what it was to read" in output
    assert not Path("out.tally").exists()


def test_a_folder_with_a_link_out_of_it_is_refused(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    def write(_self: Any, path: Path, _export: Any) -> int:
        (path / "inside.txt").write_text("x", "utf-8")
        (path / "photo.png").symlink_to(Path(RED).resolve())
        return 1

    house.register(register_exporters=_exporter(write=write, folder=True))
    house.run(capsys, "classify", RED, *COMMON)
    code, output = house.run(capsys, "export", "--store", "r.db", "--format", "tally", "--output", "out")
    assert code == 1
    assert "Error: plugin broken: write of the format tally left photo.png, a link out of the folder" in output
    assert not Path("out").exists()


@pytest.mark.parametrize("recognises", [raises(DOWN), gives("yes")])
def test_a_format_that_cannot_recognise_a_file_is_named_and_the_others_are_asked(
    house: House, capsys: pytest.CaptureFixture[str], recognises: Any
) -> None:
    house.answers(RED, store="r.db")
    assert house.run(capsys, "export", "--store", "r.db", "--output", "out.jsonl")[0] == 0
    house.register(register_exporters=_exporter(recognises=recognises))
    code, output = house.run(capsys, "validate", "out.jsonl")
    assert code == 0
    assert "out.jsonl: jsonl, 0 errors, 0 warnings" in output
    assert "plugin broken: recognises of the format tally" in output


# -- rules -------------------------------------------------------------------------------------------------------------


def _named(rank: str = "label", probability: float = 0.5) -> Ruling:
    return Ruling("taxon", Candidate(Taxon(common_name="a red fish"), rank, probability))


_GROUPS = {"groups": True, "event_key": gives(EventKey("camera", 0.0, None)), "joins": gives(True)}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"decide": raises(DOWN)}, f"the rule picky, at {RED}, failed: {SAID}"),
        ({"decide": raises(SystemExit())}, f"the rule picky, at {RED}, failed: SystemExit"),
        ({"decide": gives("blank")}, "the rule picky gave 'blank'; a Ruling is needed"),
        ({"decide": gives(_named("subtribe"))}, f"the rule picky, at {RED}, has a candidate of the rank 'subtribe'"),
        (
            {"decide": gives(_named(probability=float("nan")))},
            "has a candidate with the probability nan; it is between 0 and 1",
        ),
        ({"decide": gives(Ruling("taxon"))}, f"the rule picky, at {RED}, decided on a taxon without giving one"),
        (
            {"decide": gives(Ruling("blank", None, "x", "y", {"rule": "geofence"}))},
            "gave the details dict {'rule': 'geofence'}",
        ),
        ({"decide": gives(Ruling("blank", None, 5))}, "gave tuple (5, '') for did and why; texts are needed"),  # type: ignore[arg-type]
        (
            {"decide": gives(Ruling("blank", None, "x", "y", {"b": object()}))},
            "gave the details a value of type dict; plain JSON is needed",
        ),
        (
            {"decide": gives(Ruling("blank", _named().candidate))},
            f"the rule picky, at {RED}, decided on blank and gave a taxon",
        ),
        ({"decide": gives(Ruling("blank", None, "x", "y" * 501))}, "gave a text of 501 characters for did or why"),
        (
            {"decide": lambda _self, subject: subject.by_rank.clear()},
            f"the rule picky, at {RED}, failed: AttributeError",
        ),
        ({"notes": gives("abc")}, "notes of the rule picky returned 'abc'; a list of texts is needed"),
        (
            {"weighs": True, "weights": gives(np.ones(9))},
            "weights of the rule picky gave (9,) weights; needed are 2 finite numbers",
        ),
        (
            {"weighs": True, "weights": lambda _self, _place, labels: labels.kept_N.fill(0)},
            "assignment destination is read-only",
        ),
        (
            {"groups": True, "event_key": gives("camera")},
            "event_key of the rule picky returned 'camera'; an EventKey or None",
        ),
        ({**_GROUPS, "joins": gives(None)}, "joins of the rule picky returned None; True or False is needed"),
        (
            {**_GROUPS, "pools": gives([[0, 7]])},
            "pools of the rule picky returned list [[0, 7]]; lists of positions below 2",
        ),
        ({**_GROUPS, "pools": gives([[0], [0]])}, "pools of the rule picky returned list [[0], [0]]"),
        ({**_GROUPS, "event_name": gives(None)}, "event_name of the rule picky returned None; a text is needed"),
        ({"groups": True, "doubt": raises(DOWN)}, f"doubt of the rule picky failed: {SAID}"),
    ],
)
def test_a_rule_that_fails_decides_nothing_and_the_answers_stay(
    house: House, members: dict[str, Any], said: str
) -> None:
    house.register(register_rules=one_rule(**members))
    with (
        pytest.raises(PluginError, match=r"^plugin broken: ") as caught,
        Session(model="fake", labels="fish.txt", store="r.db", rules=("picky",), plugins=house.manager) as session,
    ):
        list(session.classify_stream([RED, BLUE]))
    assert said in str(caught.value)
    with Store.open("r.db") as store:
        decisions = [item.regions[0].decision for item in store.items_of(store.run())]
    assert [decision.trail for decision in decisions if decision] == [(), ()]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"read": raises(OSError("gone"))}, "read of the rule picky failed: OSError: gone"),
        ({"__init__": raises(DOWN)}, f"the rule picky failed: {SAID}"),
        (
            {"__init__": lambda _self, _settings: None},
            "the rule picky has no settings; call super().__init__(settings)",
        ),
        ({"identity": gives(None)}, "identity of the rule picky returned None; a dict of plain JSON"),
        ({"identity": gives({"name": "picky", "a": {1}})}, "identity of the rule picky returned dict"),
    ],
)
def test_a_rule_that_cannot_be_made_ready_ends_the_command_before_any_image(
    house: House, capsys: pytest.CaptureFixture[str], members: dict[str, Any], said: str
) -> None:
    house.register(register_rules=one_rule(**members))
    code, output = house.run(capsys, "classify", RED, *COMMON, "--rule", "picky")
    assert code == 1
    assert f"Error: plugin broken: {said}" in output


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"name": None}, "the name of a rule is None"),
        ({"name": "a:b"}, "the name of a rule is 'a:b'"),
        ({"name": "only"}, "the rule 'only' is registered already, by a built-in; names must differ"),
        ({"order": "first"}, "the rule picky needs version and order, which are numbers"),
        ({"settings_type": int}, "a dataclass is needed"),
        ({"groups": "yes"}, "the rule picky needs True or False for groups"),
    ],
)
def test_a_rule_with_members_that_cannot_be_used_is_refused(house: House, members: dict[str, Any], said: str) -> None:
    assert said in house.refused(register_rules=one_rule(**members))


def test_a_rule_that_calls_the_session_while_it_closes_is_told_so_and_does_not_hang(house: House) -> None:
    house.register(register_rules=one_rule(decide=lambda _self, _subject: session.classify(BLUE)))
    session = Session(model="fake", labels="fish.txt", store="r.db", rules=("picky",), plugins=house.manager)
    session.classify(RED)
    with pytest.raises(UsageError, match=r"^plugin broken: .*closed"):
        session.close()


def test_a_rule_may_call_the_session_while_its_rules_are_applied(house: House) -> None:
    seen: list[str] = []

    def decide(_self: Any, _subject: Any) -> None:
        seen.append(session.classify(BLUE).best.name)  # type: ignore[union-attr]

    house.register(register_rules=one_rule(decide=decide))
    with Session(model="fake", labels="fish.txt", store="r.db", rules=("picky",), plugins=house.manager) as session:
        session.classify(RED)
        session.classify(BLUE)
        session.apply_rules()
    assert seen == ["a blue fish", "a blue fish"]


# -- commands ----------------------------------------------------------------------------------------------------------


def _command(callback: Callable[..., Any]) -> Callable[..., Any]:
    return lambda group: group.add_command(click.Command("greet", callback=callback, help="Say something."))


@pytest.mark.parametrize(
    ("does", "code", "said"),
    [
        (raises(DOWN), 1, f"Error: plugin broken: the command greet failed: {SAID}"),
        (raises(DataError("no card")), 1, "Error: plugin broken: no card"),
        (raises(OwnError("own")), 1, "Error: plugin broken: the command greet failed: OwnError: own"),
        (raises(SystemExit(3)), 3, ""),
        (raises(SystemExit("bye")), 1, "bye"),
        (raises(click.UsageError("wrong")), 2, "Error: wrong"),
        (raises(KeyboardInterrupt()), 130, "Interrupted."),
        (lambda: click.echo("good morning"), 0, "good morning"),
    ],
)
def test_a_command_that_fails_is_named_and_an_exit_is_its_own(
    house: House, capsys: pytest.CaptureFixture[str], does: Callable[..., Any], code: int, said: str
) -> None:
    house.register(register_commands=_command(does))
    found, output = house.run(capsys, "greet")
    assert (found, output.strip().splitlines()[-1:]) == (code, [said] if said else [])


def test_a_command_that_cannot_be_imported_does_not_disturb_the_others(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.register(
        register_commands=lambda group: group.add_lazy("greet", "missing_package.cards:cards", "Say something.")
    )
    assert house.run(capsys, "greet") == (
        1, "Error: plugin broken: importing the command greet failed: ModuleNotFoundError: No module named 'missing_package'\n"
    )  # fmt: skip
    code, output = house.run(capsys, "--help")
    assert code == 0
    assert "Say something." in output
    Path("bioclip.toml").write_text("nonsense = 1\n", "utf-8")
    assert "unknown nonsense" in house.run(capsys, "runs", "list")[1]


@pytest.mark.parametrize(
    ("adds", "said"),
    [
        (
            lambda group: group.add_lazy("classify", "os:path", "Mine."),
            "the command 'classify' is registered already, by a built-in",
        ),
        (lambda group: group.commands.update(greet=5), "register_commands added 5 as greet; a click command is needed"),
        (lambda group: group.add_lazy("a b", "os:path", ""), "the name of a command is 'a b'"),
        (lambda group: group.add_lazy("greet", None, ""), "the command greet has the place None"),
        (lambda group: group.commands.pop("classify"), "register_commands failed: KeyError: 'classify'"),
    ],
)
def test_a_plugin_neither_replaces_commands_nor_adds_anything_else(house: House, adds: Any, said: str) -> None:
    assert said in house.refused(register_commands=adds)


def test_a_second_plugin_with_a_name_that_a_first_one_has_is_refused(house: House) -> None:
    house.manager.register(Broken(register_rules=one_rule()), name="first")
    assert house.refused(register_rules=one_rule()) == (
        "plugin broken: the rule 'picky' is registered already, by plugin first; names must differ"
    )
    house.manager.unregister(name="first")
    house.register(register_rules=one_rule())
