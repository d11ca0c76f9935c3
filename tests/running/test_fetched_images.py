"""Images on the web through a Session and the command line, from a server on this machine: fetched once, in order, each its own."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from detector_samples import BLUE, RED, Spotter, scene
from image_server import ImageServer, html, image, raw, redirect, status, truncated
from PIL import Image

from bioclip_plugin import FetchOptions, MediaItem, Session, create_plugin_manager
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.running import fetched
from bioclip_plugin.running.fetched import FetchStage
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a green fish", "a blue fish")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
QUICK = FetchOptions(
    fetch_private=True, fetch_rate=10_000, fetch_per_host=8, fetch_contact="me@museum.example", fetch_tries=1
)


def picture(colour: str, shade: int = 0, size: tuple[int, int] = (20, 10)) -> bytes:
    values = tuple(max(0, part - shade) for part in COLOURS[colour])
    stream = io.BytesIO()
    Image.new("RGB", size, values).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def manager() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return manager


def session(manager: BioclipPluginManager, tmp_path: Path, **options: Any) -> Session:
    values: dict[str, Any] = {
        "store": tmp_path / "r.db",
        "fetch": tmp_path / "images",
        "fetch_options": QUICK,
        **options,
    }
    return Session(**{"model": "fake", "labels": LABELS, "batch_size": 4, "plugins": manager, **values})


def colours(server: ImageServer, count: int) -> list[str]:
    """Return the addresses of images that are red, green and blue in turn."""
    names = list(COLOURS)
    return [server.add(f"/{n}.png", picture(names[n % 3], n)) for n in range(count)]


def expected(count: int) -> list[str]:
    return [LABELS[n % 3] for n in range(count)]


def test_answers_come_in_order_and_the_second_time_nothing_is_fetched(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    addresses = colours(server, 12)
    with session(manager, tmp_path) as s:
        answers = list(s.classify_stream([*addresses, addresses[0]]))
    assert [answer.best.name for answer in answers if answer.best] == [*expected(12), LABELS[0]]
    assert [answer.item.uri for answer in answers] == [*addresses, addresses[0]]
    assert set(server.counts().values()) == {1}
    shutil.rmtree(tmp_path / "images")  # what was answered is in the store
    with session(manager, tmp_path) as s:
        assert [answer.best.name for answer in s.classify_stream(addresses) if answer.best] == expected(12)
    assert server.count() == 12


def test_other_labels_work_from_stored_features_without_the_folder(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    addresses = colours(server, 6)
    with session(manager, tmp_path) as s:
        list(s.classify_stream(addresses))
    shutil.rmtree(tmp_path / "images")
    with Session(model="fake", labels=LABELS[:2], store=tmp_path / "r.db", plugins=manager) as other:
        assert all(answer.failure is None for answer in other.classify_stream(addresses))
    assert server.count() == 6


def test_a_failed_address_is_a_failure_with_its_reason_and_its_host_and_is_tried_again(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    red = picture("red")
    addresses = [
        server.url("/gone.png"), server.add("/page.png", html(), red), server.add("/half.png", truncated(red), red),
        server.add("/moved.png", redirect("/there.png")), server.add("/late.png", status(503), red),
    ]  # fmt: skip
    server.add("/there.png", red)
    with session(manager, tmp_path) as s:
        answers = list(s.classify_stream(addresses))
    host = f"127.0.0.1:{server.port}"
    assert [answer.failure and (answer.failure.stage, answer.failure.reason) for answer in answers] == [
        ("fetch", f"HTTP 404 Not Found from {host}"), ("fetch", f"an HTML page instead of an image ({host})"),
        ("fetch", f"truncated: got {len(red) // 2} of {len(red)} bytes ({host})"), None,
        ("fetch", f"HTTP 503 Service Unavailable from {host}"),
    ]  # fmt: skip
    with session(manager, tmp_path) as s:
        again = list(s.classify_stream(addresses))
    assert [answer.failure is None for answer in again] == [False, True, True, True, True]
    assert server.counts() == {
        "/gone.png": 2,
        "/page.png": 2,
        "/half.png": 2,
        "/moved.png": 1,
        "/there.png": 1,
        "/late.png": 2,
    }


def test_one_image_of_two_specimens_is_fetched_once_and_answered_with_the_place_of_each(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    address = server.add("/a.png", picture("blue"))
    items = [MediaItem(address, place=Place("BE")), MediaItem(f"{address}#occurrence=s2", place=Place("FR"))]
    with session(manager, tmp_path) as s:
        answers = list(s.classify_stream(items))
    assert [(answer.item.place.country, answer.best and answer.best.name) for answer in answers] == [
        ("BE", LABELS[2]),
        ("FR", LABELS[2]),
    ]
    assert server.count() == 1


def test_addresses_with_blanks_umlauts_and_escapes_are_asked_for_once_escaped(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    for path in ("/a%20b.png", "/%C3%BC.png", "/x%2Fy.png"):
        server.add(path, picture("red"))
    addresses = [server.url(path) for path in ("/a b.png", "/a%20b.png", "/ü.png", "/%C3%BC.png", "/x%2Fy.png")]
    with session(manager, tmp_path) as s:
        answers = list(s.classify_stream(addresses))
    assert [answer.failure for answer in answers] == [None] * 5
    assert [answer.item.uri for answer in answers] == addresses
    assert server.counts() == {"/a%20b.png": 1, "/%C3%BC.png": 1, "/x%2Fy.png": 1}


def test_escapes_of_html_in_an_address_are_undone_only_if_it_is_refused(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    server.add("/get?id=1&size=full", picture("red"))
    server.add("/odd?a=1&amp;b=2", picture("blue"))
    addresses = [server.url("/get?id=1&amp;size=full"), server.url("/odd?a=1&amp;b=2"), server.url("/gone?a=1&amp;b=2")]
    with session(manager, tmp_path, store=None) as s:
        answers = list(s.classify_stream(addresses))
        assert ", 1 failed" in next(s.fetching.lines())
    assert [answer.best and answer.best.name for answer in answers] == [LABELS[0], LABELS[2], None]
    assert [answer.item.uri for answer in answers] == addresses
    assert answers[0].item.metadata["fetched_as"] == server.url("/get?id=1&size=full")


def test_memory_is_bounded_and_a_host_that_makes_us_wait_holds_up_no_other(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "AHEAD", 20)
    with ImageServer(delay_s=0.3) as slow:
        first = slow.add("/slow.png", picture("green"))
        quick = colours(server, 60)
        drawn: list[str] = []

        def listed() -> Iterator[str]:
            for address in (first, *quick):
                drawn.append(address)
                yield address

        with session(manager, tmp_path, store=None) as s:
            stream = s.classify_stream(listed())
            answer = next(stream)
            assert answer.best is not None
            assert answer.best.name == LABELS[1]
            assert (
                1 < len(drawn) <= 20 + 2 * 4 + 2 * s.engine.workers + 8
            )  # what waits behind it, in decoding and in a batch
            assert server.count() > 0
            assert [one.best.name for one in stream if one.best] == expected(60)


def test_closing_a_session_ends_a_stream_that_waits_for_a_host(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    import threading

    from bioclip_core.errors import UsageError

    waits = threading.Event()

    def never(request: Any) -> bool:
        waits.set()
        request.stopping.wait(30)
        return False

    address = server.add("/never.png", never)
    s = session(manager, tmp_path)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            list(s.classify_stream([address]))
        except UsageError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waits.wait(10)
    s.close()
    thread.join(10)
    assert not thread.is_alive()
    assert "this Session is closed" in str(raised[0])


def test_a_stream_that_is_left_asks_for_nothing_more(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    addresses = colours(server, 30)
    slow = FetchOptions(fetch_private=True, fetch_rate=20, fetch_contact="me@museum.example")
    with session(manager, tmp_path, store=None, fetch_options=slow) as s:
        stream = s.classify_stream(addresses)
        next(stream)
        stream.close()
        asked = server.count()
        assert s.classify(addresses[-1]).failure is None
        assert server.count() <= asked + 3


def test_an_image_without_anything_to_name_is_not_fetched(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    person = Region(0.1, 0.1, 0.5, 0.5, category="person", classified=False)
    items = [
        MediaItem(server.url("/a.png"), detected=True),
        MediaItem(server.url("/b.png"), regions=(person,), detected=True),
    ]
    with session(manager, tmp_path) as s:
        assert [answer.failure for answer in s.classify_stream(items)] == [None, None]
    assert server.count() == 0


def test_a_folder_that_cannot_be_used_ends_the_command_with_one_line(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    from bioclip_core.errors import DataError

    (tmp_path / "images").write_text("a file")
    with session(manager, tmp_path) as s, pytest.raises(DataError, match="images"):
        list(s.classify_stream(colours(server, 1)))


def test_the_folder_is_not_part_of_a_run_and_rehash_reads_its_files_again(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    from bioclip_plugin.running.pipeline import Pipeline

    address = server.add("/a.png", picture("red"), picture("green"))
    numbers, found = [], []
    for folder, rehash, again in (
        ("images", False, False),
        ("others", False, False),
        ("images", True, False),
        ("images", True, True),
    ):
        manners = FetchOptions(fetch_private=True, fetch_contact="me@museum.example", fetch_again=again)
        with session(manager, tmp_path, fetch=tmp_path / folder, fetch_options=manners) as s:
            run = s.begin_run(["x"])
            (answer,) = Pipeline(s.engine, s.store, run, rehash=rehash, fetching=s.fetching).answers(
                [MediaItem(address)]
            )
            numbers.append(run.id)
            found.append(answer.best and answer.best.name)
    assert numbers == [1, 1, 1, 1]
    assert found == [LABELS[0], LABELS[0], LABELS[0], LABELS[1]]
    assert server.count() == 2


def test_a_full_disk_makes_failures_and_the_next_time_goes_on(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from bioclip_plugin.fetching.cache import DiskFault, Draft

    def full(*_: object) -> None:
        raise DiskFault(errno.ENOSPC, "No space left on device")

    addresses = colours(server, 5)
    with monkeypatch.context() as patch, session(manager, tmp_path) as s:
        patch.setattr(Draft, "opened", full)
        answers = list(s.classify_stream(addresses))
    assert all(
        answer.failure and answer.failure.stage == "fetch" and "is full" in answer.failure.reason for answer in answers
    )
    assert not list((tmp_path / "images").rglob("*.part"))
    with session(manager, tmp_path) as s:
        assert [answer.best.name for answer in s.classify_stream(addresses) if answer.best] == expected(5)


def test_bytes_that_change_between_two_runs_are_said_to_make_answers_out_of_date(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    from bioclip_core.findings import Findings
    from bioclip_plugin.running.pipeline import Pipeline

    address = server.add("/a.png", picture("red"), picture("blue"))
    with session(manager, tmp_path) as s:
        s.classify(address)
    shutil.rmtree(tmp_path / "images")
    findings = Findings()
    with session(manager, tmp_path, exact=True) as s:
        assert s.store is not None
        run = s.begin_run(["x"])
        pipeline = Pipeline(s.engine, s.store, run, findings=findings, fetching=s.fetching)
        (answer,) = pipeline.answers([MediaItem(address)])
    assert answer.best is not None
    assert answer.best.name == LABELS[2]
    assert any("other bytes than when they were answered" in line for line in findings.lines())


def test_a_detector_finds_the_boxes_of_an_image_on_the_web_once_and_gets_it_whole(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    spotter = Spotter()
    manager.register(spotter)
    file = scene(tmp_path / "two.png", (RED, (16, 12, 48, 36)), (BLUE, (80, 60, 144, 108)))
    address = server.add("/iiif/2/a/full/max/0/default.jpg", Path(file).read_bytes())
    for labels in (LABELS, LABELS, LABELS[::2]):  # the last one from stored boxes and features
        with session(manager, tmp_path, labels=labels, detector="spotter") as s:
            answer = s.classify(address)
        assert [region.candidates[0].name for region in answer.regions] == [LABELS[0], LABELS[2]]
        shutil.rmtree(tmp_path / "images", ignore_errors=True)
    assert (spotter.images, server.count()) == (1, 1)


# -- IIIF --------------------------------------------------------------------------------------------------------------


def described(width: int, height: int, *, profile: str = "level2", version: int = 2, **more: Any) -> bytes:
    body = {"@context": f"http://iiif.io/api/image/{version}/context.json", "width": width, "height": height,
            "profile": [f"http://iiif.io/api/image/{version}/{profile}.json", more.pop("features", {})], **more}  # fmt: skip
    return json.dumps(body).encode()


LISTED = [{"width": 150, "height": 100}, {"width": 750, "height": 500}]


def document(body: bytes) -> Any:
    return image(body, kind="application/ld+json")


def test_an_image_service_is_asked_for_a_size_that_suffices_and_its_description_once(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    bases = [f"/iiif/2/{name}" for name in ("a%2F1", "b", "c")]
    for base in bases:
        server.add(f"{base}/info.json", document(described(3000, 2000)))
        server.add(f"{base}/full/!512,512/0/default.jpg", picture("red", size=(512, 341)))
    written = [server.url(f"{bases[0]}/full/full/0/default.jpg"), server.url(f"{bases[1]}/full/max/0/default.jpg")]
    with session(manager, tmp_path) as s:
        answers = [s.classify(address) for address in written]
    assert [answer.failure for answer in answers] == [None, None]
    assert [answer.item.uri for answer in answers] == written
    assert [answer.item.metadata["fetched_as"] for answer in answers] == [
        server.url(f"{base}/full/!512,512/0/default.jpg") for base in bases[:2]
    ]
    assert server.counts() == {
        f"{bases[0]}/info.json": 1,
        **{f"{base}/full/!512,512/0/default.jpg": 1 for base in bases[:2]},
    }


@pytest.mark.parametrize(
    ("info", "asked"),
    [
        (described(300, 200), "full/max/0/default.jpg"),  # smaller than the size: never enlarged
        (described(3000, 2000, profile="level0", sizes=LISTED), "full/150,/0/default.jpg"),
        (described(3000, 2000, profile="level0"), "full/max/0/default.jpg"),
        (described(3000, 2000, profile="level1"), "full/512,/0/default.jpg"),
        (described(3000, 2000, version=3, profile="level0", sizes=[{"width": 750, "height": 500}]), "full/750,500/0/default.jpg"),
        (b"<html>", "full/!512,512/0/default.jpg"),
    ],
)  # fmt: skip
def test_sizes_follow_the_description(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, info: bytes, asked: str
) -> None:
    server.add("/iiif/2/a/info.json", document(info))
    server.add(f"/iiif/2/a/{asked}", picture("red", size=(700, 500)))
    with session(manager, tmp_path, store=None) as s:
        assert s.classify(server.url("/iiif/2/a/full/max/0/default.jpg")).failure is None
    assert [request.path for request in server.requests] == ["/iiif/2/a/info.json", f"/iiif/2/a/{asked}"]


@pytest.mark.parametrize("has_description", [True, False])
def test_a_page_in_the_place_of_a_size_leads_to_the_address_as_it_is_written(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, has_description: bool
) -> None:
    if has_description:
        server.add("/iiif/2/a/info.json", document(described(3000, 2000)))
    server.add("/iiif/2/a/full/!512,512/0/default.jpg", html())
    written = server.add("/iiif/2/a/full/max/0/default.jpg", picture("red", size=(300, 200)))
    with session(manager, tmp_path) as s:
        answer = s.classify(written)
    assert answer.failure is None
    assert answer.item.metadata["fetched_as"] == written


def test_a_refused_size_is_asked_for_as_the_description_offers_it_and_else_as_written(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    sized = "/full/!512,512/0/default.jpg"
    server.add("/iiif/a/info.json", document(described(3000, 2000)))
    server.add(f"/iiif/a{sized}", picture("red", size=(512, 341)))
    server.add(f"/iiif/b{sized}", status(501))
    server.add("/iiif/b/info.json", document(described(3000, 2000, sizes=[{"width": 900, "height": 600}])))
    server.add("/iiif/b/full/900,/0/default.jpg", picture("green", size=(900, 600)))
    server.add(f"/iiif/c{sized}", status(400))
    server.add("/iiif/c/full/max/0/default.jpg", picture("blue", size=(300, 200)))
    with session(manager, tmp_path, store=None) as s:
        answers = [s.classify(server.url(f"/iiif/{name}/full/max/0/default.jpg")) for name in "abc"]
    assert [answer.best and answer.best.name for answer in answers] == list(LABELS)


def test_a_host_that_does_not_answer_is_asked_once_and_refused_sizes_are_not_counted_as_images(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    written = server.url("/iiif/2/a/full/max/0/default.jpg")
    server.stop()
    with session(manager, tmp_path, store=None) as s:
        failure = s.classify(written).failure
        assert failure is not None
        assert "refuses connections" in failure.reason
        assert ", 1 failed" in next(s.fetching.lines())
    server.start()
    server.add("/iiif/2/a/full/max/0/default.jpg", picture("red"))
    with session(manager, tmp_path, store=None) as s:
        assert s.classify(written).failure is None
        assert next(s.fetching.lines()).startswith("Images by address: 1 fetched")
        assert ", 0 failed" in next(s.fetching.lines())
    assert [request.path.rpartition("/a/")[2] for request in server.requests] == [
        "info.json", "full/!512,512/0/default.jpg", "full/max/0/default.jpg"
    ]  # fmt: skip


def test_a_description_a_bare_service_and_a_manifest_are_told_apart(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    server.add("/iiif/2/a/info.json", document(described(100, 50)))
    server.add("/iiif/2/a/full/full/0/default.jpg", picture("red"))
    server.add("/iiif/2/odd/info.json", document(json.dumps({"type": "Manifest", "items": []}).encode()))
    paths = ("/iiif/2/a/info.json", "/iiif/2/a", "/iiif/2/m/manifest", "/iiif/2/m/manifest.json", "/iiif/2/odd")
    with session(manager, tmp_path, store=None) as s:
        answers = [s.classify(server.url(path)) for path in paths]
    assert [answer.failure is None for answer in answers] == [True, True, False, False, False]
    assert all("a IIIF manifest, which lists images" in answer.failure.reason for answer in answers if answer.failure)


def test_exact_and_boxes_take_the_address_as_it_is_written(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    written = [server.add(f"/iiif/2/{name}/full/max/0/default.jpg", picture("red")) for name in "ab"]
    with session(manager, tmp_path, store=None, exact=True) as s:
        assert s.classify(written[0]).failure is None
    with session(manager, tmp_path, store=None) as s:
        assert s.classify(MediaItem(written[1], regions=(Region(0, 0, 0.5, 0.5),))).failure is None
    assert server.count() == 2


def test_a_long_image_is_asked_for_again_until_its_shorter_side_suffices(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_plugin.fetching.iiif import Need

    monkeypatch.setattr("bioclip_plugin.running.pipeline.need_of", lambda size: Need(200))
    server.add("/iiif/2/a/full/!512,512/0/default.jpg", picture("red", size=(512, 102)))
    server.add("/iiif/2/a/full/!1024,1024/0/default.jpg", picture("red", size=(1024, 204)))
    with session(manager, tmp_path, store=None) as s:
        answer = s.classify(server.url("/iiif/2/a/full/max/0/default.jpg"))
    assert str(answer.item.metadata["fetched_as"]).endswith("!1024,1024/0/default.jpg")


def test_a_larger_form_that_is_there_is_used_by_all_runs(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    written = server.add("/iiif/2/a/full/max/0/default.jpg", picture("red", size=(2000, 1000)))
    server.add("/iiif/2/a/info.json", document(described(2000, 1000)))
    with session(manager, tmp_path, exact=True) as s:
        assert s.classify(written).failure is None
    with session(manager, tmp_path) as s:
        answer = s.classify(written)
    assert answer.item.metadata["fetched_as"] == written
    assert server.count() == 1


def test_an_answer_that_is_not_whole_in_the_folder_is_fetched_again(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    address = server.add("/a.png", picture("red"))
    with session(manager, tmp_path, store=None) as s:
        s.classify(address)
    (kept,) = (tmp_path / "images").rglob("*.png")
    kept.write_bytes(b"half")
    with session(manager, tmp_path, store=None) as s:
        assert s.classify(address).failure is None
    assert server.count() == 2


def test_an_answer_of_raw_bytes_that_are_no_http_is_a_failure(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    address = server.add("/a.png", raw(b"hello\r\n\r\n", keep=False))
    with session(manager, tmp_path, store=None) as s:
        answer = s.classify(address)
    assert answer.failure is not None
    assert answer.failure.stage == "fetch"


def same_size_and_time(path: Path, data: bytes) -> None:
    was = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_of_the_folder_that_cannot_be_read_is_fetched_again_at_once_if_it_is_not_what_was_fetched(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    addresses = colours(server, 3)
    with session(manager, tmp_path, store=None) as s:
        list(s.classify_stream(addresses))
        (path,) = [path for path in (tmp_path / "images").glob("??/*.png") if path.read_bytes() == picture("green", 1)]
        if damage == "changed":
            same_size_and_time(path, bytes(path.stat().st_size))
        else:  # between the look at the folder and the reading
            real = FetchStage._take

            def taken(stage: Any, task: Any, wanted: Any) -> None:
                real(stage, task, wanted)
                if task.item.uri.endswith("/1.png") and server.count() == 3:
                    path.unlink()

            monkeypatch.setattr(FetchStage, "_take", taken)
        answers = list(s.classify_stream(addresses))
    assert [answer.best.name for answer in answers if answer.best] == expected(3)
    assert server.counts() == {"/0.png": 1, "/1.png": 2, "/2.png": 1}


def test_a_file_that_is_as_the_host_gave_it_and_cannot_be_read_names_the_option_that_asks_again(
    manager: BioclipPluginManager, server: ImageServer, tmp_path: Path
) -> None:
    whole = picture("red")
    address = server.add("/a.png", whole[: len(whole) // 2], whole)
    for again, count in ((False, 1), (False, 1), (True, 2)):
        with session(manager, tmp_path, fetch_options=replace(QUICK, fetch_again=again)) as s:
            (answer,) = s.classify_stream([address])
        assert server.count() == count
        if again:
            assert answer.failure is None
        else:
            assert answer.failure is not None
            assert answer.failure.stage == "decode"
            assert answer.failure.reason.endswith(
                " (these are the bytes that the host gave; if it gives others now, add --fetch-again)"
            )
