"""Detectors that hang, fail on batches, give the wrong number of results, or are closed while they work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_samples import BLUE, FISH, RED, Spotter, scene
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.findings import Findings
from bioclip_core.process import threads
from bioclip_plugin import Answer, Session, create_plugin_manager
from bioclip_plugin.plugin_api import BioclipPluginManager, Detection
from bioclip_plugin.running import detecting
from bioclip_plugin.testing import FakeModel

Images = Sequence[NDArray[np.uint8]]


@pytest.fixture
def spotter() -> Spotter:
    return Spotter()


@pytest.fixture
def plugins(spotter: Spotter) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    for plugin in (spotter, FakeModel()):
        manager.register(plugin, getattr(plugin, "name", None))
    return manager


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    return [scene(tmp_path / f"{n}.png", (RED if n % 2 else BLUE, (0, 0, 10 + n, 10 + n))) for n in range(12)]


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """An event that ends what hangs in a test."""
    event = threading.Event()
    yield event
    event.set()
    until = time.monotonic() + 5
    while threads.hung_threads() and time.monotonic() < until:
        time.sleep(0.01)


def opened(plugins: BioclipPluginManager, **options: Any) -> Session:
    settings: dict[str, Any] = {"model": "fake", "labels": FISH, "detector": "spotter", "plugins": plugins, **options}
    return Session(**settings)


def reasons(answers: Sequence[Answer]) -> dict[int, str]:
    return {n: f"{a.failure.stage}: {a.failure.reason}" for n, a in enumerate(answers) if a.failure is not None}


def test_an_image_on_which_the_detector_hangs_costs_itself_alone(
    plugins: BioclipPluginManager,
    photos: list[str],
    spotter: Spotter,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detecting, "MOST_AT_ONCE", 2)  # the limit is one of each image
    right = spotter.boxes

    def boxes(image: NDArray[np.uint8]) -> list[Detection]:
        found = right(image)
        if found and round(found[0].w * 160) == 15:  # the sixth photo
            let_go.wait(30)
        return found

    spotter.boxes = boxes  # type: ignore[method-assign]
    with opened(plugins, item_timeout=0.5, workers=2) as session:
        answers = list(session.classify_stream(photos))
    assert list(reasons(answers)) == [5]
    said = "detect: plugin spotter: the detector spotter did not end within 0.5 s and was given up"
    assert reasons(answers)[5].startswith(said)


def test_a_batch_that_is_too_much_is_tried_one_by_one_and_later_ones_are_smaller(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, sizes = spotter.detect, []

    def detect(images: Images, device: str) -> list[list[Detection]]:
        sizes.append(len(images))
        time.sleep(0.02)
        if len(images) > 2:
            raise MemoryError("no room")
        return right(images, device)

    spotter.detect = detect  # type: ignore[method-assign]
    with opened(plugins, workers=8) as session:
        answers = list(session.classify_stream(photos * 3))
    assert reasons(answers) == {}
    assert spotter.images == 12, "equal images are given once"
    assert sorted(sizes)[-1] <= detecting.MOST_AT_ONCE


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([], "returned boxes for 0 images where 1 were given"),
        (None, "returned None; a list with the boxes of each image is needed"),
        ([[(0, 0, 1, 1)]], "a Detection is needed"),
    ],
)
def test_a_wrong_result_is_a_failure_of_each_image_and_the_stream_goes_on(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, result: Any, said: str
) -> None:
    spotter.detect = lambda _images, _device: result  # type: ignore[method-assign]
    with opened(plugins) as session:
        answers = list(session.classify_stream(photos))
    assert len(reasons(answers)) == len(photos)
    assert all(reason.startswith("detect: plugin spotter: ") and said in reason for reason in reasons(answers).values())


def test_a_detector_that_changes_its_images_fails_and_names_itself(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    def boxes(image: NDArray[np.uint8]) -> list[Detection]:
        image[:] = 0
        return []

    spotter.boxes = boxes  # type: ignore[method-assign]
    with opened(plugins) as session:
        (failure,) = set(reasons(list(session.classify_stream(photos[:2]))).values())
    assert failure.startswith("detect: plugin spotter: detect of the detector spotter failed: ValueError: assignment")


def test_refused_boxes_and_duplicates_are_counted(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, tmp_path: Path
) -> None:
    spotter.boxes = lambda _image: [  # type: ignore[method-assign]
        Detection(0.1, 0.1, 0.2, 0.2, "animal", 0.5),
        Detection(0.1, 0.1, 0.2, 0.2, "Animal", 0.8),
        Detection(0.9, 0.1, 0.2, 0.2, "animal", 0.8),
    ]
    findings = Findings()
    with opened(plugins, store=str(tmp_path / "r.db")) as session:
        run = session.begin_run(["photos"])
        with session.listing(photos[:3]) as items:
            answers = list(session.pipeline(run, findings=findings).answers(items))
    assert [[region.region.confidence for region in answer.regions if region.region] for answer in answers] == [
        [0.8]
    ] * 3
    assert findings.count("boxes of the detector spotter cannot be used") == 3
    assert findings.count("boxes that the detector spotter gave twice were used once") == 3


def test_closing_a_session_does_not_wait_for_its_detector(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, let_go: threading.Event
) -> None:
    begun = threading.Event()

    def boxes(_image: NDArray[np.uint8]) -> list[Detection]:
        begun.set()
        let_go.wait(300)
        return []

    spotter.boxes = boxes  # type: ignore[method-assign]
    session = opened(plugins)
    errors: list[BaseException] = []

    def use() -> None:
        try:
            list(session.classify_stream(photos))
        except BaseException as error:
            errors.append(error)

    user = threading.Thread(target=use)
    user.start()
    assert begun.wait(60)
    since = time.monotonic()
    session.close()
    user.join(60)
    assert time.monotonic() - since < 60
    assert not user.is_alive()
    assert [type(error) for error in errors] == [UsageError]


def test_two_streams_of_a_session_call_the_detector_one_at_a_time(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    at_once, most = [0], [0]
    right = spotter.detect

    def detect(images: Images, device: str) -> list[list[Detection]]:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.01)
        found = right(images, device)
        at_once[0] -= 1
        return found

    spotter.detect = detect  # type: ignore[method-assign]
    with opened(plugins) as session:
        both = [threading.Thread(target=lambda: list(session.classify_stream(photos))) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(30)
    assert most == [1]
