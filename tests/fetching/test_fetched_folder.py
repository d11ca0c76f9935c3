"""The folder of fetched images: whole or refetched, whatever happens to it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from image_server import FastClock, ImageServer, OpenFetcher, hangs_up, html, image, photo, silent, status, truncated

from bioclip_core.errors import DataError
from bioclip_core.files.leftovers import mark
from bioclip_core.findings import Findings
from bioclip_plugin.fetching import cache
from bioclip_plugin.fetching.errors import FetchError

HERE = Path(__file__).parent


def damaged_record(path: Path, record: Path) -> None:
    record.write_text('{"address": ')


def empty_record(path: Path, record: Path) -> None:
    record.write_bytes(b"")


def record_that_leads_elsewhere(path: Path, record: Path) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": "../../../../etc/passwd", "suffix": ""}))


def missing_file(path: Path, record: Path) -> None:
    path.unlink()


def truncated_file(path: Path, record: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def changed_file_of_the_same_size(path: Path, record: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (damaged_record, "records of fetched images are damaged"),
        (empty_record, "records of fetched images are damaged"),
        (record_that_leads_elsewhere, "records of fetched images are damaged"),
        (missing_file, "fetched images are missing from their folder"),
        (truncated_file, "fetched images were changed in their folder"),
        (changed_file_of_the_same_size, "fetched images were changed in their folder"),
    ],
)
def test_what_was_damaged_is_counted_and_fetched_again(
    server: ImageServer, open_fetcher: OpenFetcher, damage: Any, finding: str
) -> None:
    address = server.add("/a.jpg", photo("a"))
    fetcher = open_fetcher()
    path = fetcher.fetch(address).path
    (record, _), *_ = fetcher.manifest.records()
    damage(path, record)
    findings = Findings()
    again = open_fetcher(findings=findings).fetch(address)
    assert not again.from_cache
    assert again.path == path
    assert path.read_bytes() == photo("a")
    assert [line.split(";")[0] for line in findings.lines()] == [finding]
    assert findings.count(next(iter(findings.texts()))) == 1


def test_a_copied_folder_is_compared_once_by_sha256_and_used(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.add("/a.jpg", photo("a"))
    path = open_fetcher().fetch(address).path
    os.utime(path, (1, 1))
    read: list[Path] = []
    real = cache.sha256_of
    monkeypatch.setattr(cache, "sha256_of", lambda path: (read.append(path), real(path))[1])
    assert open_fetcher().fetch(address).from_cache
    assert open_fetcher().fetch(address).from_cache
    assert read == [path]
    assert server.count() == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"layout": "bioclip-plugin images by address", "version": 2}', "has version 2, and this program reads 1"),
        ('{"layout": "another", "version": 1}', "is not the description of a folder of fetched images"),
        ("{", "is not JSON"),
    ],
)
def test_a_folder_of_another_version_is_refused_in_one_line(
    open_fetcher: OpenFetcher, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.json").write_text(content)
    with pytest.raises(DataError, match=reason):
        open_fetcher()
    assert (tmp_path / "cache" / "cache.json").read_text() == content


def test_a_folder_with_other_things_is_refused_and_left_as_it_is(open_fetcher: OpenFetcher, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "IMG_1.JPG").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holds other things \(IMG_1.JPG\): give a new folder"):
        open_fetcher(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["IMG_1.JPG"]
    with pytest.raises(DataError, match="is a file: give a folder"):
        open_fetcher(tmp_path / "photos" / "IMG_1.JPG")


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_each_image_fails_with_it_without_a_request_and_the_same_command_goes_on(
    server: ImageServer, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = FastClock()
    fetcher = open_fetcher(clock=clock, fetch_connections=1)
    kept = fetcher.fetch(server.url("/photos/kept.jpg"))
    monkeypatch.setattr("bioclip_plugin.fetching.cache.os.fsync", no_space)
    for number in range(5):
        with pytest.raises(
            FetchError, match=r"^the folder .*cache for fetched images is full; free space .*same command"
        ):
            fetcher.fetch(server.url(f"/photos/{number}.jpg"))
    assert server.count() == 2
    queued = open_fetcher(fetch_per_host=1)
    for pending in [queued.submit(server.url(f"/photos/more{number}.jpg")) for number in range(20)]:
        with pytest.raises(FetchError, match="is full"):
            pending.result(5)
    assert server.count() == 3
    assert fetcher.fetch(server.url("/photos/kept.jpg")).path == kept.path
    assert not list((tmp_path / "cache" / "working").iterdir())
    monkeypatch.undo()
    assert open_fetcher().fetch(server.url("/photos/3.jpg")).path.read_bytes() == photo("/photos/3.jpg")


def test_a_folder_that_cannot_be_written_gives_what_it_holds(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    address = server.url("/photos/a.jpg")
    open_fetcher().fetch(address)
    (tmp_path / "cache" / "working").rmdir()
    (tmp_path / "cache" / "working").write_bytes(b"")  # root could write to a folder without permission
    fetcher = open_fetcher()
    assert fetcher.fetch(address).from_cache
    with pytest.raises(FetchError, match=r"cannot be written \(Not a directory\)"):
        fetcher.fetch(server.url("/photos/b.jpg"))


def test_a_folder_that_was_removed_meanwhile_is_made_again(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    fetcher = open_fetcher()
    address = server.url("/photos/a.jpg")
    fetcher.fetch(address)
    shutil.rmtree(tmp_path / "cache")
    for name in ("a", "b"):
        assert fetcher.fetch(server.url(f"/photos/{name}.jpg")).path.read_bytes() == photo(f"/photos/{name}.jpg")
    assert fetcher.fetch(server.url("/photos/b.jpg")).from_cache
    assert open_fetcher().fetch(address).from_cache


def test_a_folder_that_is_removed_while_an_image_is_written_costs_one_more_request(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = open_fetcher()
    real, removed = os.fsync, []

    def removing(file: int) -> None:
        real(file)
        if not removed:
            removed.append(file)
            shutil.rmtree(tmp_path / "cache")

    monkeypatch.setattr("bioclip_plugin.fetching.cache.os.fsync", removing)
    assert fetcher.fetch(server.url("/photos/a.jpg")).path.read_bytes() == photo("/photos/a.jpg")
    assert server.count() == 2


def test_a_folder_whose_disk_is_gone_is_not_made_elsewhere(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    fetcher = open_fetcher(tmp_path / "disk" / "cache")
    (tmp_path / "disk").rename(tmp_path / "gone")
    with pytest.raises(FetchError, match="cannot be written"):
        fetcher.fetch(server.url("/photos/a.jpg"))
    assert not (tmp_path / "disk").exists()


def test_whatever_is_recorded_can_be_read_again(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    wordy = image(photo("a"), f"ETag: {'e' * 30_000}", f"Last-Modified: {'l' * 30_000}")
    address = server.add("/" + "%E8%AA%9E" * 850 + ".jpg", wordy, wordy)
    fetcher = open_fetcher()
    fetcher.fetch(address, licence="\x01" * 90_000)
    (_, record), *_ = fetcher.manifest.records()
    assert not isinstance(record, DataError)
    assert len(record.licence) < 9000
    assert open_fetcher().fetch(address).from_cache
    with pytest.raises(FetchError, match="characters"):
        fetcher.fetch(server.url("/" + "\u8a9e" * 2000 + ".jpg"))


def test_leftovers_of_killed_programs_are_removed_and_those_of_others_stay(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    open_fetcher()
    working = tmp_path / "cache" / "working"
    machine = mark().split("-")[0]
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    (working / f"{machine}-{ended.stdout.strip()}.7.part").write_bytes(b"half")
    (working / f"{mark()}.7.part").write_bytes(b"ours")
    (working / f"{'0' * 64}.claim").write_text(f"{machine}-{ended.stdout.strip()}")
    (working / f"{'1' * 64}.claim").write_text(mark())
    (working / "0123abcd-77.7.part").write_bytes(b"another machine's")
    (working / "0123abcd-78.7.part").write_bytes(b"another machine's, long ago")
    os.utime(working / "0123abcd-78.7.part", (1, 1))
    open_fetcher()
    assert sorted(path.name for path in working.iterdir()) == sorted(
        [f"{mark()}.7.part", "0123abcd-77.7.part", f"{'1' * 64}.claim"]
    )


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.options import FetchOptions
options = FetchOptions(fetch_private=True, fetch_rate=10_000, fetch_contact="me", fetch_per_host=4)
with Fetcher(sys.argv[2], options) as fetcher:
    for one in [fetcher.submit(address) for address in sys.argv[3:]]:
        print(one.result(30).sha256, flush=True)
"""


def begin(folder: Path, *addresses: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(HERE), str(folder), *addresses], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip


def test_programs_that_share_a_folder_fetch_each_address_once(server: ImageServer, tmp_path: Path) -> None:
    server.delay_s = 0.02
    addresses = [server.url(f"/photos/{number}.jpg") for number in range(24)]
    programs = [begin(tmp_path / "cache", *addresses) for _ in range(2)]
    outputs = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0]
    assert outputs[0] == outputs[1]
    assert set(server.counts().values()) == {1}
    assert len(server.counts()) == 24


def test_a_killed_program_leaves_nothing_that_holds_up_the_next_one(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    address = server.add("/a.jpg", silent(), photo("a"))
    program = begin(tmp_path / "cache", server.url("/photos/first.jpg"), address)
    assert program.stdout is not None
    program.stdout.readline()
    until = time.monotonic() + 60
    while not server.count("/a.jpg") and time.monotonic() < until:
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    program.wait(60)
    began = time.monotonic()
    fetcher = open_fetcher()
    assert fetcher.fetch(address).path.read_bytes() == photo("a")
    assert fetcher.fetch(server.url("/photos/first.jpg")).from_cache
    assert time.monotonic() - began < 25  # a claim of another machine would be waited for 30 s
    assert not list((tmp_path / "cache" / "working").iterdir())


@pytest.mark.parametrize(("owner", "limit"), [("0123abcd-77", "_SILENT_S"), ("", "_EMPTY_S")])
def test_a_claim_of_a_machine_that_is_gone_is_taken_over(
    server: ImageServer,
    open_fetcher: OpenFetcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    limit: str,
) -> None:
    monkeypatch.setattr(f"bioclip_plugin.fetching.claims.{limit}", 0.05)
    fetcher = open_fetcher()
    address = server.url("/photos/a.jpg")
    from bioclip_plugin.fetching.addresses import read_address

    (tmp_path / "cache" / "working" / f"{read_address(address).key}.claim").write_text(owner)
    assert fetcher.fetch(address).status == 200


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"^the folder .+/file/new for fetched images cannot be used \(.+\): give a folder on a disk"
    ):
        cache.Cache(tmp_path / "file" / "new")


def test_other_licences_of_one_address_are_counted_and_a_missing_one_is_filled_in(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    address, without = server.url("/photos/a.jpg"), server.url("/photos/b.jpg")

    def recorded(fetcher: Any) -> list[str]:
        return sorted(record.licence for _, record in fetcher.manifest.records())

    findings = Findings()
    fetcher = open_fetcher(findings=findings)
    server.delay_s = 0.05
    together = [fetcher.submit(address, licence=licence) for licence in ("CC BY", "CC BY", "CC BY-NC", "")]
    for pending in together:
        pending.result(10)
    fetcher.fetch(without)
    assert recorded(fetcher) == ["", "CC BY"]
    assert list(findings.lines()) == [
        "rows state different licences for one address; its record keeps the first: "
        f"1 (the first: {address}: 'CC BY' and 'CC BY-NC')"
    ]
    findings = Findings()
    later = open_fetcher(findings=findings)
    for one, licence in ((address, "CC BY"), (address, "all rights reserved"), (without, "CC0")):
        assert later.fetch(one, licence=licence).from_cache
    assert findings.count(next(iter(findings.texts()))) == 1
    assert recorded(later) == ["CC BY", "CC0"]


def test_the_record_of_a_failure_has_the_status_of_the_answer_that_was_no_image(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    answers = {"/page": html(), "/half": truncated(photo("a")), "/gone": status(410), "/silent": hangs_up()}
    fetcher = open_fetcher(fetch_tries=1)
    for path, answer in answers.items():
        with pytest.raises(FetchError):
            fetcher.fetch(server.add(path, answer))
    found = {record.address.rpartition("/")[2]: record.status for _, record in fetcher.manifest.records()}
    assert found == {"page": 200, "half": 200, "gone": 410, "silent": None}
