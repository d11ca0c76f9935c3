"""A Darwin Core archive of 200 images on a server that misbehaves, killed twice and continued: each image fetched once, each its own."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from image_server import (
    Answer,
    ImageServer,
    Request,
    chunked,
    gzipped,
    image,
    redirect,
    status,
    truncated,
    without_length,
)
from PIL import Image
from ready_processes import PRELOADED, PROCESSES

from bioclip_plugin.cli import run
from bioclip_plugin.fetching import hosts
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

SPECIMENS, IMAGES = 50, 200
PER_HOST = 4
DWC = "http://rs.tdwg.org/dwc/terms"
PRELOADED.append(__name__)


def picture(number: int) -> bytes:
    """Return an image whose colour tells its number."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 255 - number, number // 2)).save(stream, "PNG")
    return stream.getvalue()


class Museum:
    """The server, and how often it sent each image to its end."""

    def __init__(self, server: ImageServer) -> None:
        self.server, self.sent = server, Counter[int]()
        for number in range(IMAGES):
            data = picture(number)
            kinds: list[list[Answer]] = [
                [image(data)], [chunked(data)], [truncated(data), image(data)], [without_length(data)], [gzipped(data)],
                [image(data, kind="text/html")],
            ]  # fmt: skip
            *before, last = kinds[number % len(kinds)]
            if number in (20, 150):  # each makes the host wait, and halves the rate
                before = [status(429 if number == 20 else 503, "Retry-After: 0"), *before]
            path = f"/img/{number}.png"
            server.add(path, *before, self._counted(number, last))
            if number % 10 == 9:
                server.add(f"/moved/{number}.png", redirect(path, 301))

    def _counted(self, number: int, answer: Answer) -> Answer:
        def counted(request: Request) -> bool:
            is_open = answer(request)
            self.sent[number] += 1
            return is_open

        return counted

    def address(self, number: int) -> str:
        return self.server.url(f"/moved/{number}.png" if number % 10 == 9 else f"/img/{number}.png")


@pytest.fixture
def museum(tmp_path: Path) -> Iterator[Museum]:
    with ImageServer(delay_s=0.01) as server:
        museum = Museum(server)
        folder = tmp_path / "dwca"
        folder.mkdir()
        (tmp_path / "labels.txt").write_text("a red fish\na green fish\na blue fish\n")
        (folder / "o.csv").write_text("id,country\n" + "".join(f"s{n},BE\n" for n in range(SPECIMENS)))
        rows = [f"s{n % SPECIMENS},{museum.address(n)},CC0\n" for n in range(IMAGES)]
        rows += [
            f"s{(n + 1) % SPECIMENS},{museum.address(n)},CC0\n" for n in range(0, IMAGES, 20)
        ]  # of two specimens each
        (folder / "m.csv").write_text("coreid,accessURI,license\n" + "".join(rows))
        (folder / "meta.xml").write_text(
            f"<archive xmlns='http://rs.tdwg.org/dwc/text/'><core rowType='{DWC}/Occurrence' fieldsTerminatedBy=',' ignoreHeaderLines='1'>"
            f"<files><location>o.csv</location></files><id index='0'/><field index='1' term='{DWC}/country'/></core>"
            "<extension rowType='http://rs.tdwg.org/ac/terms/Multimedia' fieldsTerminatedBy=',' ignoreHeaderLines='1'><files><location>"
            "m.csv</location></files><coreid index='0'/><field index='1' term='http://rs.tdwg.org/ac/terms/accessURI'/>"
            "<field index='2' term='http://purl.org/dc/terms/license'/></extension></archive>"
        )  # fmt: skip
        yield museum


def classify(folder: Path) -> None:
    """Run the command line in its own process, with its output in a file."""
    output = os.open(folder / "output.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    hosts.FIRST_BACKOFF_S = 0.05
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    options = ["--model", "fake", "--labels", folder / "labels.txt", "--store", folder / "r.db", "--batch-size", 8,
               "--fetch", folder / "images", "--fetch-private", "--fetch-rate", 2_000, "--fetch-per-host", PER_HOST,
               "--fetch-contact", "me@museum.example"]  # fmt: skip
    code = run(["classify", str(folder / "dwca"), *map(str, options)], manager)
    sys.stdout.flush()
    sys.exit(code)


def started(folder: Path) -> ForkServerProcess:
    process = PROCESSES.Process(target=classify, args=(folder,))
    process.start()
    return process


def killed_when(folder: Path, is_time: Callable[[], bool]) -> None:
    process, until = started(folder), time.monotonic() + 120
    while process.is_alive() and not is_time():
        assert time.monotonic() < until, (folder / "output.txt").read_text()
        time.sleep(0.001)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_museum_archive_that_is_killed_twice_is_fetched_once_and_each_specimen_has_its_own_image(
    museum: Museum, tmp_path: Path
) -> None:
    for goal in (IMAGES // 5, 3 * IMAGES // 5):
        killed_when(tmp_path, lambda goal=goal: museum.sent.total() >= goal)
    last = started(tmp_path)
    last.join(120)
    said = (tmp_path / "output.txt").read_text()
    assert last.exitcode == 0, said
    assert sorted(museum.sent) == list(range(IMAGES))
    again = [number for number, count in museum.sent.items() if count > 1]
    assert len(again) <= 2 * PER_HOST  # at most those that were on their way when the program was killed
    assert max(museum.sent.values()) <= 3
    with Store.open(tmp_path / "r.db") as store:
        verified = store.verify(store.run())
    assert (verified.listed, verified.answered, verified.todo, verified.problems) == (
        IMAGES + IMAGES // 20,
        IMAGES + IMAGES // 20,
        0,
        [],
    )
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection:
        contents = dict(
            connection.execute(
                "select m.uri, c.sha256 from bioclip_media m join bioclip_contents c on m.content = c.id"
            ).fetchall()
        )
    for uri, sha256 in contents.items():
        number = int(uri.partition("#")[0].rpartition("/")[2].removesuffix(".png"))
        assert sha256 == hashlib.sha256(picture(number)).hexdigest(), uri
    assert sum("#occurrence=" in uri for uri in contents) == IMAGES // 20
