"""A Darwin Core archive classified and exported again, through the command line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from darwin_samples import SPECIMENS, archive, packed, picture

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def classified(command: Command, colour_labels: str, tmp_path: Path) -> Path:
    """Return a packed archive of two specimens and three images, one of them missing, classified into the store r.db."""
    names = {
        "images/a.png": "s1",
        "images/b.png": "s1",
        "https://example.org/c.png": "s2",
        "https://example.org/d.png": "s2",
    }
    media = [{"coreid": specimen, "identifier": name} for name, specimen in names.items()]
    specimens = [{**row, "countryCode": "BE"} for row in SPECIMENS]
    folder = archive(tmp_path / "dwca", media, specimens)
    picture(folder / "images" / "a.png", "red")
    picture(folder / "images" / "b.png", "red")
    picture(tmp_path / "c.png", "blue")
    file = packed(folder, tmp_path / "nhm.zip")
    arguments = ("classify", "nhm.zip", "--model", "fake", "--labels", colour_labels, "--store", "r.db")
    code, out, said = command(*arguments)
    assert code == 3, said
    assert "fetched only with --fetch FOLDER: 1 (the first: https://example.org/d.png)" in out + said
    _, out, said = command(*arguments)
    assert "3 were done before" in out + said
    return file


def rows(file: str, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(file) as packed_file:
        header, *lines = packed_file.read(name).decode().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_a_packed_archive_is_classified_and_its_identifications_go_out_once(command: Command, classified: Path) -> None:
    export = ("export", "--store", "r.db", "--format", "darwin-core", "--ledger", "sent.ledger")
    code, out, said = command(*export, "--output", "first.zip")
    assert code == 0, said
    assert "2 new" in out + said
    named = [
        (row["coreid"], row["scientificName"], row["identifiedBy"][:4])
        for row in rows("first.zip", "identification.txt")
    ]
    assert named == [("s1", "Red fictus", "fake"), ("s2", "Blue pictus", "fake")]
    assert [row["accessURI"] for row in rows("first.zip", "multimedia.txt")] == [
        "nhm.zip/images/a.png", "nhm.zip/images/b.png", "https://example.org/c.png",
    ]  # fmt: skip
    with zipfile.ZipFile("first.zip") as file:
        assert json.loads(file.read("provenance.json"))["model"]["source"] == "local"
    code, out, said = command(*export, "--output", "second.zip")
    assert code == 0, said
    assert "0 new, 0 changed, 2 sent before and left out" in out + said
    assert rows("second.zip", "identification.txt") == []


def test_both_archives_are_valid(command: Command, classified: Path) -> None:
    assert command("export", "--store", "r.db", "--format", "darwin-core", "--output", "out")[0] == 0
    for name in ("out", "nhm.zip"):
        code, out, said = command("validate", name)
        assert (code, "darwin-core, 0 errors, 0 warnings" in out + said) == (0, True)


def test_a_refused_export_leaves_the_ledger_alone(command: Command, classified: Path) -> None:
    Path("there.zip").touch()
    code, _, said = command(
        "export", "--store", "r.db", "--format", "darwin-core", "--ledger", "l", "--output", "there.zip"
    )
    assert code != 0, said
    assert not any(path.name in ("l", ".l.draft") for path in Path().iterdir())
