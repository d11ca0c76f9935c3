"""Several images under one name, with a store: each has its own answer, and the store keeps the last one's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_plugin import MediaItem, Region, Session, create_plugin_manager
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.testing import FakeModel

COLOURS = ("red", "blue", "green")
LABELS = tuple(f"a {colour} fish" for colour in COLOURS)


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (9, 9), colour)


def data(colour: str) -> bytes:
    picture(colour).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


IN_MEMORY: dict[str, Callable[[str], MediaItem]] = {
    "images": lambda colour: MediaItem("frame", image=picture(colour)),
    "bytes": lambda colour: MediaItem("frame", data=data(colour)),
}
of_kind = pytest.mark.parametrize("item", IN_MEMORY.values(), ids=list(IN_MEMORY))
Item = Callable[[str], MediaItem]


def session(store: Path, **options: Any) -> Session:
    plugins = create_plugin_manager(installed=False)
    plugins.register(FakeModel())
    return Session(model="fake", labels=LABELS, store=store, plugins=plugins, **options)


def colours(answers: list[Answer]) -> list[str]:
    assert [answer.failure for answer in answers] == [None] * len(answers)
    return [answer.best.name.split()[1] if answer.best else "" for answer in answers]


def stored(one: Session) -> list[str]:
    assert one.store is not None
    items = list(one.store.items_of(one.store.run()))
    return [region.by_rank["label"][0].name.split()[1] for item in items for region in item.regions]


@of_kind
def test_images_of_one_name_in_one_stream_have_their_own_answers(item: Item, tmp_path: Path) -> None:
    given = [item(colour) for colour in COLOURS * 4]
    with session(tmp_path / "r.db", batch_size=2) as one:
        assert colours(list(one.classify_stream(given))) == list(COLOURS * 4)
        assert stored(one) == ["green"]


@of_kind
def test_an_image_under_a_stored_name_has_its_own_answer(item: Item, tmp_path: Path) -> None:
    with session(tmp_path / "r.db") as one:
        assert [colours([one.classify(item(colour))]) for colour in COLOURS] == [[colour] for colour in COLOURS]
        assert stored(one) == ["green"]
    with session(tmp_path / "r.db") as again:
        assert colours([again.classify(item("blue"))]) == ["blue"]
        assert stored(again) == ["blue"]


def test_equal_images_of_one_name_are_encoded_once(tmp_path: Path) -> None:
    model = FakeModel()
    plugins = create_plugin_manager(installed=False)
    plugins.register(model)
    with Session(model="fake", labels=LABELS, store=tmp_path / "r.db", plugins=plugins) as one:
        assert colours(list(one.classify_stream([IN_MEMORY["images"]("red")] * 9))) == ["red"] * 9
        assert colours([one.classify(IN_MEMORY["images"]("red"))]) == ["red"]
    assert model.encoder.images_encoded == 1


@of_kind
def test_a_file_and_an_image_in_memory_of_one_name_have_their_own_answers(item: Item, tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    picture("red").save(path)
    file = MediaItem("frame", path=path)
    given = [file, item("blue"), file, file, item("green"), file]
    with session(tmp_path / "r.db", batch_size=1) as one:
        for _ in range(2):
            assert colours(list(one.classify_stream(given))) == ["red", "blue", "red", "red", "green", "red"]
            assert stored(one) == ["red"]
        assert colours(list(one.classify_stream(given[1:3]))) == ["blue", "red"]
        assert colours(list(one.classify_stream([item("blue")]))) == ["blue"]
        assert colours(list(one.classify_stream([file]))) == ["red"]


def test_several_files_of_one_name_have_their_own_answers(tmp_path: Path) -> None:
    paths = [tmp_path / f"{colour}.png" for colour in COLOURS]
    together = b"".join(data(colour) for colour in COLOURS)
    (tmp_path / "all").write_bytes(together)
    for path, colour in zip(paths, COLOURS, strict=True):
        picture(colour).save(path)
    spans, start = [], 0
    for colour in COLOURS:
        spans.append((start, len(data(colour))))
        start += len(data(colour))
    with session(tmp_path / "r.db") as one:
        for _ in range(2):
            assert colours(list(one.classify_stream([MediaItem("x", path=path) for path in paths]))) == list(COLOURS)
            parts = [MediaItem("y", path=tmp_path / "all", span=span) for span in spans]
            assert colours(list(one.classify_stream(parts))) == list(COLOURS)


def test_boxes_and_times_of_another_image_of_the_same_name_are_not_taken_over(tmp_path: Path) -> None:
    left, right = Region(0, 0, 0.5, 1), Region(0.5, 0, 0.5, 1)
    first = MediaItem("frame", image=picture("red"), regions=(left,), captured_at=datetime(2020, 5, 1))
    second = replace(first, image=picture("blue"), regions=(right,), captured_at=None)
    for given in ([first, second], [second, first, second]):
        with session(tmp_path / f"{len(given)}.db") as one:
            answers = list(one.classify_stream(given))
            assert [[r.region for r in answer.regions] for answer in answers] == [list(i.regions) for i in given]
            assert [answer.item.captured_at for answer in answers] == [item.captured_at for item in given]
            assert one.store is not None
            (kept,) = one.store.items_of(one.store.run())
            assert (kept.item.captured_at, [r.region for r in kept.regions]) == (None, [right])
    with session(tmp_path / "2.db") as again:
        answer = again.classify(replace(first, captured_at=None))
        assert (answer.item.captured_at, [r.region for r in answer.regions]) == (None, [left])
