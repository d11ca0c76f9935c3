"""A detector in front of the model, inside the pipeline."""

from __future__ import annotations

import _thread
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_samples import BLUE, FISH, GREEN, RED, Spotter, scene
from PIL import Image

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.images import decoded
from bioclip_plugin import Answer, ClassifyRequest, MediaItem, Region, Session, create_plugin_manager, hookimpl
from bioclip_plugin.plugin_api import BioclipPluginManager, Detection, ListingOptions
from bioclip_plugin.running import detecting, pipeline
from bioclip_plugin.running.detecting import ChosenDetector, Detecting, DetectorSettings
from bioclip_plugin.testing import FakeModel


@pytest.fixture
def spotter() -> Spotter:
    return Spotter()


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
def plugins(spotter: Spotter, fake: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    for plugin in (spotter, fake):
        manager.register(plugin)
    return manager


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Two animals, an empty one, a person beside an animal."""
    return [
        scene(tmp_path / "two.png", (RED, (16, 12, 48, 36)), (BLUE, (80, 60, 144, 108))),
        scene(tmp_path / "empty.png"),
        scene(tmp_path / "person.png", (GREEN, (0, 0, 16, 12)), (BLUE, (32, 24, 64, 48))),
    ]


def opened(plugins: BioclipPluginManager, **options: Any) -> Session:
    settings: dict[str, Any] = {"model": "fake", "labels": FISH, "detector": "spotter", "plugins": plugins, **options}
    return Session(**settings)


def names(answer: Answer) -> list[str | None]:
    assert answer.failure is None, answer.failure
    return [region.candidates[0].name if region.candidates else None for region in answer.regions]


def boxes(answer: Answer) -> list[tuple[int, int, int, int]]:
    return [region.region.box for region in answer.regions if region.region]


def test_the_boxes_of_the_detector_are_named_and_people_and_blanks_are_not(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    with opened(plugins) as session:
        two, empty, person = session.classify_stream(photos)
    assert names(two) == ["a red fish", "a blue fish"]
    assert boxes(two) == [(1000, 1000, 2000, 2000), (5000, 5000, 4000, 4000)]
    assert (empty.regions, empty.item.detected, empty.failure) == ((), True, None)
    assert names(person) == ["a blue fish", None]
    kept = person.regions[1].region
    assert kept is not None
    assert (kept.category, kept.detector, kept.detector_version, kept.confidence) == ("person", "spotter", "7", 0.9)
    assert spotter.images == 3
    assert spotter.devices == {"cpu"}


def test_boxes_below_the_threshold_are_kept_without_a_name(plugins: BioclipPluginManager, photos: list[str]) -> None:
    with opened(plugins, detection_threshold=0.95) as session:
        two, *_ = session.classify_stream(photos)
    assert names(two) == [None, None]
    assert len(boxes(two)) == 2


def test_items_with_boxes_of_their_own_are_left_alone(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    own = MediaItem("own", Path(photos[0]), regions=(Region(0.5, 0.5, 0.4, 0.4),))
    seen = MediaItem("seen", Path(photos[0]), detected=True)
    with opened(plugins) as session:
        first, second = session.classify_stream([own, seen])
    assert names(first) == ["a blue fish"]
    assert second.regions == ()
    assert spotter.images == 0


def test_every_kind_of_image_is_given_upright_and_read_only(
    plugins: BioclipPluginManager, tmp_path: Path, spotter: Spotter
) -> None:
    scene(tmp_path / "plain.png", (RED, (0, 0, 32, 24)))
    upright = Image.open(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.convert("P").save(tmp_path / "palette.png")
    upright.convert("CMYK").save(tmp_path / "cmyk.tif")
    given: list[Any] = [
        *(str(tmp_path / name) for name in ("plain.png", "turned.png", "palette.png", "cmyk.tif")),
        upright,
        np.asarray(upright),
        (tmp_path / "plain.png").read_bytes(),
    ]
    with opened(plugins) as session:
        answers = list(session.classify_stream(given))
    assert {tuple(boxes(answer)) for answer in answers} == {((0, 0, 2000, 2000),)}
    assert set(spotter.sizes) == {(120, 160, 3)}
    writable: list[bool] = []

    def look(image: Any) -> list[Detection]:
        writable.append(image.flags.writeable)
        with pytest.raises(ValueError, match="WRITEABLE"):
            image.setflags(write=True)
        return []

    spotter.boxes = look  # type: ignore[method-assign]
    with opened(plugins) as session:
        list(session.classify_stream(given[:2]))
    assert writable == [False, False]


def test_another_label_set_threshold_or_model_does_not_run_the_detector_again(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, fake: FakeModel, tmp_path: Path
) -> None:
    store = str(tmp_path / "r.db")

    def run(**options: Any) -> list[Answer]:
        with opened(plugins, store=store, **options) as session:
            run = session.begin_run(["photos"])
            return list(session.pipeline(run).answers(session.listing(photos)))

    first = run()
    assert (spotter.images, fake.encoder.images_encoded) == (3, 3)
    assert names(run(labels=("a green fish", "a blue fish"))[0])[1] == "a blue fish"
    assert names(run(detection_threshold=0.95)[0]) == [None, None]
    assert [names(answer) for answer in run()] == [names(answer) for answer in first]
    assert [answer.regions for answer in run()] == [answer.regions for answer in first]
    assert (spotter.images, fake.encoder.images_encoded) == (3, 3)
    plugins.register(FakeModel("other"))
    run(model="other")
    assert spotter.images == 3
    for photo in photos:  # files that are only renamed
        Path(photo).rename(Path(photo).with_suffix(".PNG"))
    photos[:] = [str(Path(photo).with_suffix(".PNG")) for photo in photos]
    run()
    assert spotter.images == 3
    spotter.weights = "w2"
    run()
    assert spotter.images == 6
    with opened(plugins, store=store) as session:
        assert session.store is not None
        runs = session.store.runs()
        assert len({entry.rule_id for entry in runs}) == 5  # labels, threshold, model, weights
        assert {entry.rule_settings["detection"]["threshold"] for entry in runs} == {0.2, 0.95}
        for entry in runs:
            proof = session.store.verify(entry)
            assert proof.problems == []


def test_a_listing_and_the_session_have_one_threshold(
    plugins: BioclipPluginManager, photos: list[str], tmp_path: Path
) -> None:
    with (
        opened(plugins, store=str(tmp_path / "r.db")) as session,
        pytest.raises(
            UsageError, match=r"detection_threshold is 0.2 in the request and 0.5 in the options of the listing"
        ),
    ):
        session.listing(photos, ListingOptions(detection_threshold=0.5))
    with opened(plugins, detection_threshold=0.5) as session:
        answers = list(session.classify_stream(session.listing(photos, ListingOptions(detection_threshold=0.5))))
    assert len(answers) == 3


def test_an_unknown_detector_is_refused_with_the_names_that_there_are(plugins: BioclipPluginManager) -> None:
    with pytest.raises(UsageError, match=r"detector 'spoter' is not known; there are .*spotter"):
        opened(plugins, detector="spoter")
    lacking = Spotter("x")
    lacking.missing = lambda: "pip install it"  # type: ignore[attr-defined]
    plugins.register(lacking, "lacking")
    with pytest.raises(UsageError, match=r"detector 'x' needs packages that are not installed: pip install it"):
        opened(plugins, detector="x")
    with pytest.raises(UsageError, match=r"there are .*x \(needs pip install it\)"):
        opened(plugins, detector="spoter")


def test_an_unknown_detector_is_refused_in_the_same_words_everywhere_with_the_nearest_name(
    plugins: BioclipPluginManager,
) -> None:
    class Zoo:
        @hookimpl
        def register_detectors(self, register: Callable[[Any], None]) -> None:
            for number in range(95):
                register(Spotter(f"lynx{number:02}"))

    plugins.register(Zoo(), "zoo")
    plugins.leave_out("megadetector", "ImportError: no torch")
    with pytest.raises(UsageError) as in_session:
        opened(plugins, detector="Spoter:w.pt")
    with pytest.raises(UsageError) as in_manager:
        plugins.detector("Spoter:w.pt")
    said = str(in_session.value)
    assert said == str(in_manager.value)
    assert said.startswith("detector 'Spoter' is not known; there are ")
    assert " more (see: bioclip-plugin plugins); did you mean spotter?; " in said
    assert len(said) < 400
    assert said.endswith("; the plugin megadetector was skipped, which may have it: ImportError: no torch")


def test_one_bad_image_does_not_cost_its_batch(
    plugins: BioclipPluginManager, photos: list[str], tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), (255, 255, 0)).save(tmp_path / "yellow.png")
    with opened(plugins, workers=8) as session:
        answers = list(session.classify_stream([photos[0], str(tmp_path / "yellow.png"), photos[2], photos[1]]))
    assert [answer.failure is None for answer in answers] == [True, False, True, True]
    failure = answers[1].failure
    assert failure is not None
    assert failure.stage == "detect"
    assert failure.reason.endswith("detect of the detector spotter failed: RuntimeError: yellow hurts")
    assert failure.reason.startswith("plugin Spotter: ")


@pytest.mark.parametrize(
    ("found", "names_of", "said"),
    [
        ([Detection(-0.0005, 0, 1.0009, 1, "animal", 1.0005)], [(0, 0, 10_000, 10_000)], ""),
        ([Detection(0.5, 0.5, 0.6, 0.2, "animal", 0.9)], None, "bbox [0.5, 0.5, 0.6, 0.2]: it leaves the image"),
        ([Detection(0, 0, 320, 240, "animal", 0.9)], None, "pixels are not allowed"),
        ([Detection(0, 0, float("nan"), 1, "animal", 0.9)], None, "must be four numbers"),
        ([Detection(0, 0, 1, 1, "animal", float("nan"))], None, "conf nan: must be a number from 0 to 1"),
        ([Detection(0, 0, 1, 1, "animal", 93.0)], None, "conf 93.0: must be a number from 0 to 1"),
        ([Detection(0, 0, 0, 1, "animal", 0.9)], None, "width and height must be above 0"),
        (
            [Detection(0, 0, 2, 2, "animal", 0.9), Detection(0, 0, 0.5, 0.5, "Wildebeest", 0.9)],
            [(0, 0, 5000, 5000)],
            "",
        ),
    ],
)
def test_boxes_out_of_range_are_clipped_by_a_rounding_or_refused(
    plugins: BioclipPluginManager,
    photos: list[str],
    spotter: Spotter,
    found: list[Detection],
    names_of: list[Any] | None,
    said: str,
) -> None:
    spotter.boxes = lambda _image: found  # type: ignore[method-assign]
    with opened(plugins) as session:
        answer = session.classify(photos[0])
    if names_of is None:
        assert answer.failure is not None
        assert answer.failure.stage == "detect"
        assert said in answer.failure.reason
    else:
        assert boxes(answer) == names_of
        assert None not in names(answer)  # a word of its own is named as an animal is


def test_a_stream_of_any_length_is_in_order_in_bounded_batches(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    colours = [(RED, BLUE)[number % 3 == 0] for number in range(120)]

    def items() -> Any:
        for number, colour in enumerate(colours):
            image = Image.new("RGB", (60 + number, 80), (255, 255, 255))
            image.paste(colour, (0, 0, 30, 30))
            yield MediaItem(f"{number}", image=image)

    with opened(plugins, workers=4, batch_size=4) as session:
        answers = list(session.classify_stream(items()))
    assert [answer.item.uri for answer in answers] == [str(number) for number in range(120)]
    assert [names(answer) for answer in answers] == [["a red fish" if one == RED else "a blue fish"] for one in colours]
    assert max(spotter.calls) <= 8
    assert spotter.images == 120


def test_the_answers_are_those_of_the_detector_to_a_file_and_then_classify(
    plugins: BioclipPluginManager, tmp_path: Path, spotter: Spotter
) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for number in range(6):
        pixels = rng.integers(0, 255, (480, 640, 3), np.uint8)
        pixels[...] = 255 - pixels // 8
        pixels[40 : 140 + 30 * number, 60 : 260 + 20 * number] = (230, 20, 10)
        pixels[300:340, 400:430] = (10, 20, 240)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", quality=92)
        paths.append(str(tmp_path / f"{number}.jpg"))
    file = {
        "info": {"format_version": "1.4", "detector": "spotter"},
        "detection_categories": {"1": "animal", "2": "person"},
        "images": [
            {
                "file": path,
                "detections": [
                    {"category": "1", "conf": box.confidence, "bbox": list(box[:4])}
                    for box in spotter.boxes(np.asarray(Image.open(path)))
                ],
            }
            for path in paths
        ],
    }
    (tmp_path / "md.json").write_text(json.dumps(file))
    with opened(plugins) as session:
        inside = [answer.regions for answer in session.classify_stream(paths)]
    two_steps = {}
    for exact in (True, False):
        with opened(plugins, detector=None, exact=exact) as session:
            options = ListingOptions(base_folder=Path("/"), allow_outside=True)
            listed = session.listing([str(tmp_path / "md.json")], options)
            two_steps[exact] = [answer.regions for answer in session.classify_stream(listed)]
    for mine, full, reduced in zip(inside, two_steps[True], two_steps[False], strict=True):
        assert len(mine) == len(full) == 2
        for one, other, third in zip(mine, full, reduced, strict=True):
            assert one.region is not None
            assert other.region is not None
            assert one.region.box == other.region.box
            assert one.candidates == other.candidates  # to the last bit: both decode the whole image
            for a, b in zip(one.candidates, third.candidates, strict=True):
                # A decoder that averages blocks on the way differs by a few of 255 levels.
                assert (a.name, a.probability) == (b.name, pytest.approx(b.probability, abs=0.01))


def test_a_slow_detector_that_finds_nothing_is_committed_all_the_same(
    plugins: BioclipPluginManager, tmp_path: Path, spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_LATE_S", 0.05)
    paths = []
    for number in range(12):
        image = Image.new("RGB", (40, 30), (255, 255, 255 - number))
        image.save(tmp_path / f"{number}.png")
        paths.append(str(tmp_path / f"{number}.png"))

    def nothing(_image: Any) -> list[Detection]:
        time.sleep(0.03)
        return []

    spotter.boxes = nothing  # type: ignore[method-assign]
    with opened(plugins, store=str(tmp_path / "r.db"), workers=1) as session:
        run = session.begin_run(["photos"])
        assert session.store is not None
        first = session.pipeline(run).answers(session.listing(paths))
        next(first)
        assert session.store.summary(run).done < 12
        first.close()
        seen, done = spotter.images, session.store.summary(run).done
        assert done > 0
        again = list(session.pipeline(run).answers(session.listing(paths)))
        assert [answer.regions for answer in again] == [()] * 12
        assert spotter.images - seen <= 12 - done, "what was committed is not looked at again"
        assert session.store.verify(run).problems == []


def test_pages_and_listed_files_are_given_one_by_one(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, tmp_path: Path
) -> None:
    pages = [Image.open(photo) for photo in photos]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with opened(plugins) as session, session.listing([str(tmp_path / "pages.tif")]) as items:
        answers = list(session.classify_stream(items))
    assert [answer.item.frame for answer in answers] == [0, 1, 2]
    assert [len(answer.regions) for answer in answers] == [2, 0, 2]
    assert spotter.images == 3


def test_an_enormous_image_is_reduced_and_its_boxes_fit(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "_MOST_PIXELS", 160 * 120 // 4)
    with opened(plugins) as session:
        reduced = session.classify(photos[0])
        spotter.side = 32
        assert spotter.sizes == [(120, 160, 3)], "it must keep twice the detector's side"
    with opened(plugins) as session:
        reduced = session.classify(photos[0])
    assert spotter.sizes[-1] == (60, 80, 3)
    assert boxes(reduced) == [(1000, 1000, 2000, 2000), (5000, 5000, 4000, 4000)]


def test_a_device_that_is_not_there_ends_the_stream(plugins: BioclipPluginManager, photos: list[str]) -> None:
    with opened(plugins, device="cuda:77") as session, pytest.raises(BioclipError, match="cuda"):
        list(session.classify_stream(photos))


def test_the_hooks_of_hosts_and_features_use_the_detector(plugins: BioclipPluginManager, photos: list[str]) -> None:
    request = ClassifyRequest(model="fake", labels=FISH, detector="spotter")
    answers = plugins.hook.classify_images(items=photos, request=request)
    assert [len(answer.regions) for answer in answers] == [2, 0, 2]
    features = plugins.hook.embed_images(items=photos, request=request)
    assert [None if rows is None else rows.shape for rows in features] == [(2, 3), None, (1, 3)]
    plugins.close()


@pytest.mark.parametrize("by_detector", [True, False])
def test_a_box_that_was_named_has_no_name_in_a_run_with_a_higher_threshold(
    plugins: BioclipPluginManager, photos: list[str], tmp_path: Path, by_detector: bool
) -> None:
    def run(threshold: float) -> list[tuple[bool, bool, bool]]:
        detector = "spotter" if by_detector else None
        with opened(plugins, detector=detector, store=str(tmp_path / "r.db"), detection_threshold=threshold) as session:
            boxed = Region(0.1, 0.1, 0.2, 0.2, "md", "5", "animal", 0.9, classified=threshold < 0.9)
            items = (
                session.listing(photos) if by_detector else [MediaItem(photos[0], Path(photos[0]), regions=(boxed,))]
            )
            begun = session.begin_run([f"photos from {threshold}"])
            list(session.pipeline(begun).answers(items))
            assert session.store is not None
            stored = [region for item in session.store.items_of(begun) for region in item.regions]
            return [(r.classified, bool(r.by_rank), r.decision is not None) for r in stored]

    named, unnamed = (True, True, True), (False, False, False)
    expected = ([named, named, named, unnamed], [unnamed] * 4) if by_detector else ([named], [unnamed])
    assert run(0.2) == expected[0]
    assert run(0.95) == expected[1]
    assert run(0.2) == expected[0]


def test_other_weights_leave_the_confidences_of_an_earlier_run_alone(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter, tmp_path: Path
) -> None:
    with opened(plugins, store=str(tmp_path / "r.db")) as session:
        assert session.store is not None
        first = session.begin_run(["photos"])
        list(session.pipeline(first).answers(session.listing(photos)))
        spotter.weights, spotter.confidence = "w2", 0.4
        with opened(plugins, store=str(tmp_path / "r.db")) as later:
            second = later.begin_run(["photos"])
            list(later.pipeline(second).answers(later.listing(photos)))
        for run, confidence in ((first, 0.9), (second, 0.4)):
            stored = [region.region for item in session.store.items_of(run) for region in item.regions]
            assert {region.confidence for region in stored if region} == {confidence}
            assert session.store.box_counts(run).named == 3


def test_boxes_are_stored_before_the_model_has_a_batch_so_that_an_interruption_loses_little(
    plugins: BioclipPluginManager, tmp_path: Path, spotter: Spotter
) -> None:
    photos = [scene(tmp_path / f"{number}.png", (RED, (number, 0, 60, 48))) for number in range(30)]
    store, detect, interruptions = str(tmp_path / "r.db"), spotter.detect, iter([_thread.interrupt_main])

    def interrupting(images: Any, device: str) -> Any:
        found = detect(images, device)
        if spotter.images >= 16:
            next(interruptions, lambda: None)()  # a second one would end the clearing up
            time.sleep(0.3)
        return found

    spotter.detect = interrupting  # type: ignore[method-assign]
    session = opened(plugins, store=store, batch_size=64)
    with pytest.raises(KeyboardInterrupt):
        list(session.classify_stream(photos))
    session.close()
    looked_at = spotter.images
    spotter.detect = detect  # type: ignore[method-assign]
    with opened(plugins, store=store, batch_size=64) as session:
        answers = list(session.classify_stream(photos))
        assert {tuple(names(answer)) for answer in answers} == {("a red fish",)}
        assert session.store is not None
        assert session.store.verify(session.store.run(None)).problems == []
    assert looked_at < 30
    assert spotter.images - 30 <= detecting.MOST_AT_ONCE, "only those of the interrupted call are looked at again"


def test_boxes_are_stored_by_time(photos: list[str], spotter: Spotter, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[Any, Any] = {}
    one = Detecting(
        DetectorSettings(ChosenDetector(spotter), 0.2),
        lambda: "cpu",
        limit_s=60,
        findings=None,
        stored=None,
        keep=kept.update,
    )
    pixels = np.asarray(Image.open(photos[0]))

    def wait_for(*shas: str) -> None:
        ends = time.monotonic() + 60
        while {sha for sha, _ in kept} != set(shas) and time.monotonic() < ends:
            time.sleep(0.01)
        assert {sha for sha, _ in kept} == set(shas)

    one.found_in(("a", 0), 5, "a", pixels)
    wait_for("a")
    one.found_in(("b", 0), 5, "b", pixels)  # within two seconds
    time.sleep(0.05)
    wait_for("a")
    monkeypatch.setattr(detecting, "_KEEP_S", 0.0)
    found = one.found_in(("c", 0), 5, "c", pixels)
    wait_for("a", "b", "c")
    assert kept["c", 0] == (5, found)
    one.close(wait_s=1)


def test_equal_images_in_parallel_streams_of_a_session_are_looked_at_once(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    begun, together, detect = threading.Event(), threading.Event(), spotter.detect

    def slow(images: Any, device: str) -> Any:
        begun.set()
        together.wait(10)
        return detect(images, device)

    spotter.detect = slow  # type: ignore[method-assign]
    with opened(plugins, workers=2) as session, ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(lambda: [names(answer) for answer in session.classify_stream(photos)]) for _ in range(2)]
        assert begun.wait(10)
        time.sleep(0.3)
        together.set()
        first, second = (stream.result(30) for stream in streams)
    assert first == second
    assert spotter.images == 3


def test_a_stream_that_ends_leaves_its_images_to_others_with_equal_ones(
    plugins: BioclipPluginManager, photos: list[str], spotter: Spotter
) -> None:
    chosen = ChosenDetector(spotter)
    settings = DetectorSettings(chosen, 0.2)
    one, other = (Detecting(settings, lambda: "cpu", limit_s=60, findings=None, stored=None) for _ in range(2))
    pixels = np.asarray(Image.open(photos[0]))
    chosen.lock.acquire()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.found_in, ("sha", 0), 1, "a", pixels)
        while ("sha", 0) not in chosen.waiting:
            time.sleep(0.01)
        second = pool.submit(other.found_in, ("sha", 0), 1, "b", pixels)
        time.sleep(0.1)
        one.close(wait_s=0)
        with pytest.raises(BioclipError):
            first.result(10)
        chosen.lock.release()
        assert len(second.result(20)) == 2
    other.close(wait_s=1)
