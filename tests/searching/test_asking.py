"""What a text asks for, with a fake model whose features can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bioclip_core.errors import DataError, ImageError, NoTextTower, UsageError
from bioclip_plugin import Session
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.searching.asking import Asking
from bioclip_plugin.searching.results import Kind
from bioclip_plugin.searching.searcher import Searcher
from bioclip_plugin.testing import FakeModel

COLOURS = {"red": (255, 0, 0), "crimson": (200, 10, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def paint(path: Path, colour: tuple[int, int, int]) -> str:
    Image.new("RGB", (12, 12), colour).save(path)
    return str(path)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    with fake_session() as opened:
        items = [MediaItem(f"{name}.png", Path(paint(Path(f"{name}.png"), colour))) for name, colour in COLOURS.items()]
        two = MediaItem(
            "two.png", Path(paint(Path("two.png"), (9, 9, 9))), regions=(Region(0, 0, 0.5, 1), Region(0.5, 0, 0.5, 1))
        )
        list(opened.classify_stream([*items, two]))
        yield opened


def fake_session(*, text_tower: bool = True, name: str = "fake") -> Session:
    plugins = create_plugin_manager()
    plugins.register(FakeModel(name, text_tower=text_tower))
    return Session(model=name, labels=["red fish", "blue fish"], store="results.db", plugins=plugins)


def asking(session: Session) -> Asking:
    assert session.store is not None
    return Asking(session.store, Searcher(session.store, session.store.run()), lambda: session.engine)


@pytest.mark.parametrize(
    ("text", "kind", "first", "described"),
    [
        ("red.png", "item", "crimson.png", "the stored feature of item 1-1-1 (red.png)"),
        ("1-1-1", "item", "crimson.png", "the stored feature of item 1-1-1"),
        ("new.png", "image", "crimson.png", "the image new.png"),
        ("blue fish", "name", "blue.png", "the name blue fish: 1 row of the label set, text"),
        ("something green in the sea", "words", "green.png", "the words 'something green in the sea', encoded by the text tower of fake"),
    ],
)  # fmt: skip
def test_a_text_is_what_it_can_only_be(session: Session, text: str, kind: Kind, first: str, described: str) -> None:
    paint(Path("new.png"), (210, 11, 0))
    asked = asking(session)
    query = asked.query(text)
    assert (query.kind, query.described) == (kind, described)
    assert asked._searcher.search(query, 1).hits[0].item.uri == first


def test_a_text_with_two_meanings_is_refused_with_the_option_that_decides(session: Session) -> None:
    paint(Path("x.png"), (0, 0, 255))
    Path("x.png").rename("red fish")
    asked = asking(session)
    with pytest.raises(
        DataError, match=r"'red fish' is a file \(--as image\) and a name in the label set \(--as name\)"
    ):
        asked.query("red fish")
    assert asked.query("red fish", "image").vector_D.tolist() == [0, 0, 1]
    assert asked.query("red fish", "name").vector_D.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("missing.png", None, r"'missing.png' is neither a file nor an image of run 1: check the path"),
        ("blu fish", None, r"nor a name in the label set; did you mean blue fish\? .*: --as words"),
        ("blu fish", "name", r"'blu fish' is not a name in the label set; did you mean blue fish\?"),
        ("two.png", None, r"two.png has 2 regions, and a search takes one: say which with --region"),
        ("2-1-1", None, r"2-1-1 is an item of run 2, and the search is in run 1: give --run 2"),
        ("1-1-99", None, r"run 1 has no classified item 1-1-99"),
        ("other.png", "item", r"'other.png' is not an image of run 1"),
    ],
)
def test_what_is_nothing_known_is_refused(session: Session, text: str, kind: Kind | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        asking(session).query(text, kind)


def test_a_region_is_chosen_by_its_number(session: Session) -> None:
    asked = asking(session)
    assert asked.query("two.png", region=2).item != asked.query("two.png", region=1).item
    with pytest.raises(DataError, match=r"two.png has no region 3: give a number from 1 to 2"):
        asked.query("two.png", region=3)


def test_queries_that_cannot_be_made_are_refused(session: Session, tmp_path: Path) -> None:
    asked = asking(session)
    Path("bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad.png: "):
        asked.query("bad.png")
    with pytest.raises(UsageError, match="the words of the search are empty"):
        asked.query(" ", "words")
    with fake_session(text_tower=False) as mute:
        silent = Asking(session.store, asked._searcher, lambda: mute.engine)
        with pytest.raises(NoTextTower, match=r"fake cannot search by words: .*this fake encoder has no text tower"):
            silent.query("a red fish", "words")


def test_another_model_is_refused_with_those_that_the_store_has(session: Session) -> None:
    searcher = asking(session)._searcher
    with fake_session(name="other") as other:
        asked = Asking(session.store, searcher, lambda: other.engine)
        assert asked.query("red.png").kind == "item"
        with pytest.raises(
            DataError, match=r"other weights than those of other, .*the store has features of: fake in run 1"
        ):
            asked.query("a red fish", "words")


def test_a_session_searches_by_texts_and_by_images_in_memory(session: Session) -> None:
    found = session.search(Image.new("RGB", (12, 12), COLOURS["blue"]), top=2)
    assert found.hits[0].item.uri == "blue.png"
    assert found.hits[0].cosine == pytest.approx(1.0)
    assert len(found.hits) == 2
    by_name = session.search("red fish", kind="name", run=1, top=1)
    assert (by_name.kind, by_name.hits[0].item.uri) == ("name", "red.png")
    assert session.search(Path("green.png"), top=1).kind == "item"
    paint(Path("lime.png"), (10, 255, 0))
    session.classify("lime.png")
    assert session.search("green.png", top=1).hits[0].item.uri == "lime.png"


def test_searches_of_sessions_that_cannot_be_made_are_refused(session: Session) -> None:
    with pytest.raises(UsageError, match="kind 'photo': give one of image, item, name, words, or none"):
        session.search("red.png", kind="photo")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="name_from 'photos': give one of labels, reviews"):
        session.search("red fish", name_from="photos")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a search by words has nothing to do with reviews"):
        session.search("red fish", kind="words", name_from="reviews")
    with pytest.raises(UsageError, match="kind words: give the query as a text"):
        session.search(Image.new("RGB", (9, 9)), kind="words")
    with fake_session(name="other") as other, pytest.raises(DataError, match="other weights than those of other"):
        other.search(Image.new("RGB", (9, 9)))
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.search("red.png")
    with Session(model="demo") as without, pytest.raises(UsageError, match="without a store"):
        without.search("red.png")
