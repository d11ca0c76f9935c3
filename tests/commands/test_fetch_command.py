"""``fetch manifest`` and ``fetch check``: a folder of fetched images as people see it."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from command_samples import Bioclip
from image_server import ImageServer, photo, redirect, status

from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.options import FetchOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    options = FetchOptions(fetch_private=True, fetch_rate=1000, fetch_contact="me@museum.example")
    with ImageServer() as server, Fetcher(tmp_path / "fetched", options) as fetcher:
        server.add("/from", redirect("/photos/a.jpg"))
        fetcher.fetch(server.url("/from"), licence="=CC BY")
        fetcher.fetch(server.add("/b", photo("b")))
        with pytest.raises(FetchError):
            fetcher.fetch(server.add("/c", status(410)))
    return tmp_path / "fetched"


def test_the_manifest_is_a_table_with_a_row_per_address(bioclip: Bioclip, folder: Path, tmp_path: Path) -> None:
    said = bioclip("fetch", "manifest", str(folder), "--output", str(tmp_path / "m.csv"))
    assert said.code == 0
    assert "3 addresses" in said.out
    rows = {
        row["address"].rpartition("/")[2]: row for row in csv.DictReader((tmp_path / "m.csv").open(encoding="utf-8"))
    }
    assert set(rows) == {"from", "b", "c"}
    assert (rows["from"]["licence"], rows["from"]["status"]) == ("'=CC BY", "200")
    assert rows["from"]["final_address"].endswith("/photos/a.jpg")
    assert (folder / rows["b"]["file"]).read_bytes() == photo("b")
    assert (rows["c"]["status"], rows["c"]["reason"], rows["c"]["sha256"]) == ("410", "410 Gone", "")
    failed = bioclip("fetch", "manifest", str(folder), "--failed")
    assert [row["status"] for row in csv.DictReader(io.StringIO(failed.out))] == ["410"]
    assert bioclip("fetch", "manifest", str(folder), "--output", str(tmp_path / "m.csv")).code == 1


def test_a_check_names_what_is_damaged_and_removes_it_on_request(bioclip: Bioclip, folder: Path) -> None:
    assert bioclip("fetch", "check", str(folder)).out.endswith("2 images as fetched, 0 damaged or missing\n")
    image, other = sorted(folder.glob("??/*.jpg"))
    image.write_bytes(b"\xff\xd8\xff changed")
    other.unlink()
    (folder / "manifest" / "00" / "00").mkdir(parents=True)
    (folder / "manifest" / "00" / "00" / f"{'0' * 64}.json").write_text("{")
    said = bioclip("fetch", "check", str(folder))
    assert said.code == 3
    assert f"{image}: its content has another sha256 than its name" in said.out.replace("\n", " ")
    assert "3 damaged or missing" in said.out
    assert bioclip("fetch", "check", str(folder), "--remove").code == 3
    assert not image.exists()
    assert bioclip("fetch", "check", str(folder)).code == 0


def test_another_folder_is_refused_and_left_as_it_is(bioclip: Bioclip, tmp_path: Path) -> None:
    for command in ("manifest", "check"):
        said = bioclip("fetch", command, str(tmp_path))
        assert (said.code, "is not a folder of fetched images" in said.err.replace("\n", " ")) == (1, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_check_does_not_wait_for_a_named_pipe_in_the_place_of_an_image(bioclip: Bioclip, folder: Path) -> None:
    (folder / "ab").mkdir(exist_ok=True)
    os.mkfifo(folder / "ab" / f"{'ab' * 32}.jpg")
    outcome = bioclip("fetch", "check", folder)
    assert outcome.code == 3
    assert "it is not a file" in outcome.out + outcome.err
