"""Use inside another program: several threads, an unchanged process, streams that end early, every kind of input."""

from __future__ import annotations

import inspect
import io
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bioclip_core.device import Compute
from bioclip_core.errors import UsageError
from bioclip_core.models import ModelEntry
from bioclip_plugin import ClassifyRequest, MediaItem, Region, Session, create_plugin_manager, hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.running.session import StreamProgress
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeEncoder, FakeModel

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
FISH = ("a red fish", "a green fish", "a blue fish", "a red and green fish")
BEST = {"red": FISH[0], "green": FISH[1], "blue": FISH[2], "yellow": FISH[3]}
# The cosines of a red image are 1, 0, 0 and 1/√2.
LIKELY = math.e / (math.e + 2 + math.exp(2**-0.5))
TOLERANCE = 1e-3  # the label between red and green is rounded to float16, which moves a probability by up to 2e-4


def test_a_session_names_the_options_of_a_request() -> None:
    parameters = dict(inspect.signature(Session).parameters)
    for of_the_session_alone in ("plugins", "fetch", "fetch_options"):
        del parameters[of_the_session_alone]
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        option.name: option.default for option in fields(ClassifyRequest)
    }
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


class CountedModel:
    """Model that counts how often it is opened and which threads use it."""

    def __init__(self) -> None:
        self.opened = 0
        self.encoder = FakeEncoder("counted")

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        pinned = {"size": 8, "resize_mode": "squash"}
        register(ModelEntry("counted", "counted", "colours", preprocessing=pinned, open_encoder=self._open))

    def _open(self, compute: Compute) -> FakeEncoder:
        self.opened += 1
        return self.encoder


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
def pm(fake: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(fake)
    return manager


@pytest.fixture
def session(pm: BioclipPluginManager) -> Iterator[Session]:
    with Session(model="fake", labels=FISH, plugins=pm) as opened:
        yield opened


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_shades(folder: Path, count: int) -> list[str]:
    """Write files with different contents, so that features are never shared."""
    paths = []
    for number in range(count):
        path = folder / f"shade_{number:03d}.png"
        path.write_bytes(png((200, number, 0)))
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("store", [None, "results.db"], ids=["no-store", "sqlite"])
def test_four_threads_share_one_open_session_through_the_hook(tmp_path: Path, store: str | None) -> None:
    model = CountedModel()
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    start = threading.Barrier(4, timeout=60)

    def ask(colour: str) -> list[str]:
        # An equal request, not the same object: hosts build one at each place of use.
        request = ClassifyRequest(model="counted", labels=FISH, store=str(tmp_path / store) if store else None)
        images = [Image.new("RGB", (16 + number, 16), COLOURS[colour]) for number in range(5)]
        items = [MediaItem(uri=f"{colour}/{number}", image=image) for number, image in enumerate(images)]
        start.wait()
        answers = manager.hook.classify_images(items=items, request=request)
        assert [answer.item.uri for answer in answers] == [item.uri for item in items]
        return [answer.best.name for answer in answers]

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(COLOURS, pool.map(ask, COLOURS), strict=True))
    assert found == {colour: [BEST[colour]] * 5 for colour in COLOURS}
    assert model.opened == 1
    assert model.encoder.images_encoded == 20
    if store:
        with Store.open(tmp_path / store) as opened:
            (run,) = opened.runs()
            assert opened.summary(run).done == 20
            assert opened.verify(run).problems == []


def test_another_request_opens_another_session_and_the_first_stays_open() -> None:
    model = CountedModel()
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    item = MediaItem(uri="red", image=Image.new("RGB", (16, 16), COLOURS["red"]))
    for top in (1, 2, 1, 2):
        request = ClassifyRequest(model="counted", labels=FISH, top=top)
        assert len(manager.hook.classify_images(items=[item], request=request)[0].candidates) == top
    assert model.opened == 2


def test_closing_a_stream_keeps_committed_answers_and_repeats_nothing(
    pm: BioclipPluginManager, fake: FakeModel, tmp_path: Path
) -> None:
    paths = write_shades(tmp_path, 40)
    address = tmp_path / "results.db"
    with Session(model="fake", labels=FISH, store=address, plugins=pm, batch_size=4, workers=1) as session:
        stream = session.classify_stream(paths)
        taken = [next(stream).item.uri for _ in range(5)]
        stream.close()
        encoded = fake.encoder.images_encoded
    assert taken == paths[:5]
    assert encoded < 40
    with Store.open(address) as store:
        done = [item.item.uri for item in store.items_of(store.run()) if item.status == "done"]
        assert done == paths[:encoded]  # every encoded image was committed, in order
    with Session(model="fake", labels=FISH, store=address, plugins=pm, batch_size=4) as session:
        assert [answer.item.uri for answer in session.classify_stream(paths)] == paths
    assert fake.encoder.images_encoded == 40


def test_a_stream_is_read_no_further_ahead_than_its_queues_are_long(pm: BioclipPluginManager, tmp_path: Path) -> None:
    (path,) = write_shades(tmp_path, 1)
    drawn = 0

    def endless() -> Iterator[str]:
        nonlocal drawn
        while True:
            drawn += 1
            yield path

    with Session(model="fake", labels=FISH, plugins=pm, batch_size=2, workers=1) as session:
        stream = session.classify_stream(endless())
        for _ in range(20):
            next(stream)
        stream.close()
    # 20 answers, and at most the batches in progress: 2 batches of images ahead, 2 per worker, 3 finished ones.
    assert 20 <= drawn <= 40


def test_progress_counts_answers_failures_and_regions(session: Session, tmp_path: Path) -> None:
    heard: list[StreamProgress] = []
    halves = (Region(0, 0, 0.5, 1), Region(0.5, 0, 0.5, 1))
    two = MediaItem(uri="two", data=png(COLOURS["red"]), regions=halves)
    for _ in session.classify_stream([two, tmp_path / "missing.png", png(COLOURS["blue"])], progress=heard.append):
        pass
    assert heard == [StreamProgress(1, 0, 2), StreamProgress(2, 1, 2), StreamProgress(3, 1, 3)]


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "pil", "item", "item-data", "item-image"])
def test_every_kind_of_input_gets_the_same_answer(session: Session, tmp_path: Path, kind: str) -> None:
    data = png(COLOURS["red"])
    path = tmp_path / "red.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    given: dict[str, Any] = {
        "path": path,
        "text": str(path),
        "bytes": data,
        "pil": image,
        "item": MediaItem(uri="red", path=path),
        "item-data": MediaItem(uri="red", data=data),
        "item-image": MediaItem(uri="red", image=image),
    }
    answer = session.classify(given[kind])
    assert answer.failure is None
    assert answer.best is not None
    assert answer.best.name == "a red fish"
    assert answer.best.probability == pytest.approx(LIKELY, abs=TOLERANCE)
    assert answer.regions[0].region is None


def test_an_input_that_is_not_an_image_is_refused_with_the_allowed_types(session: Session) -> None:
    with pytest.raises(
        UsageError, match="int is not an image: give a path, bytes, a PIL image or a MediaItem, or an array of"
    ):
        session.classify(42)  # type: ignore[arg-type]


def test_each_region_of_an_item_has_its_own_answer(session: Session) -> None:
    image = Image.new("RGB", (20, 10), COLOURS["red"])
    image.paste(COLOURS["blue"], (10, 0, 20, 10))
    left, right = Region(0, 0, 0.5, 1), Region(0.5, 0, 0.5, 1)
    answer = session.classify(MediaItem(uri="both", image=image, regions=(left, right)))
    assert [(part.region, part.candidates[0].name) for part in answer.regions] == [
        (left, "a red fish"),
        (right, "a blue fish"),
    ]


def test_a_bad_file_is_an_answer_with_a_failure_and_the_stream_goes_on(session: Session, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    answers = list(session.classify_stream([tmp_path / "empty.jpg", tmp_path / "text.jpg", png(COLOURS["green"])]))
    assert [answer.failure is None for answer in answers] == [False, False, True]
    assert all(answer.failure.reason for answer in answers[:2] if answer.failure)
    assert answers[2].best is not None
    assert answers[2].best.name == "a green fish"


def test_answers_do_not_depend_on_the_hosts_defaults_of_torch_and_numpy() -> None:
    def probability() -> float:
        with Session(model="demo", device="cpu") as session:
            answer = session.classify(Image.new("RGB", (60, 40), (90, 120, 30)))
        assert answer.best is not None
        return answer.best.probability

    usual = probability()
    with np.errstate(all="raise"):
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        try:
            assert probability() == usual
        finally:
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)
