"""``report`` on the command line: files, output and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from report_samples import PERSON, House, blocks_of, data_of, item, trapped

from bioclip_plugin.cli import run
from bioclip_plugin.items.media import MediaItem

Report = Callable[..., tuple[int, str, str]]


@pytest.fixture
def report(house: House, capsys: pytest.CaptureFixture[str]) -> Report:
    """Command over the store: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["report", "--store", house.address, *map(str, arguments)], manager=house.manager)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_report_is_written_and_summed_up(house: House, report: Report) -> None:
    walker = item(house.photo("walker.jpg", "red"), regions=(PERSON,), detected=True)
    house.classify([*trapped(house, 6), walker, item(house.folder / "gone.jpg")])
    code, out, _ = report()
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "Run 1: 8 images, 7 done, 1 failed, 7 regions"
    assert lines[1].startswith("Pictures: 8, ")  # the person has a close-up
    assert lines[2] == "People were blurred in 1 image."
    assert lines[3].startswith("Output: report.html (")
    assert len(data_of(Path("report.html"))["entries"]) == 7


def test_an_existing_file_is_kept_unless_forced(house: House, report: Report) -> None:
    house.classify(trapped(house, 2))
    Path("r.html").write_text("mine")
    code, _, err = report("--output", "r.html")
    assert (code, Path("r.html").read_text()) == (1, "mine")
    assert "--force" in err
    assert report("--output", "r.html", "--force")[0] == 0
    assert Path("r.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_report_of_a_part_says_so(house: House, report: Report) -> None:
    house.classify(trapped(house, 20))
    code, out, _ = report("--taxon", "Warmidae", "--since", "2031-05-02", "--min-probability", "0.5", "--limit", "3")
    data = data_of(Path("report.html"))
    assert code == 0
    assert {data["taxa"][entry[5][0]][0] for entry in data["entries"]} == {"Red fictus"}
    assert "The gallery holds the first 3 of 8" in out


def test_names_in_another_language_are_taken_from_a_table(house: House, report: Report) -> None:
    house.classify(trapped(house, 5))
    Path("names.csv").write_text("scientificName,language,vernacularName\nRed fictus,de,Rotling\nBlue pictus,fr,bleu\n")
    assert report("--names", "names.csv", "--language", "de")[0] == 0
    assert {taxon[2] for taxon in data_of(Path("report.html"))["taxa"]} == {"Rotling", ""}
    code, _, err = report("--language", "de", "--force")
    assert code == 2
    assert "--names FILE.csv" in err


def placed(house: House, folder: Path) -> list[MediaItem]:
    """Return three images in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(3):
        Image.new("RGB", (20, 10), "red").save(folder / f"red_{number}.jpg")
        found.append(item(folder / f"red_{number}.jpg"))
    return found


def test_missing_images_give_a_hint_where_they_may_be(house: House, report: Report) -> None:
    items = trapped(house, 3)
    house.classify(items)
    for one in items:
        assert one.path
        one.path.unlink()
    code, out, _ = report()
    assert code == 0
    assert "3 images could not be shown; the first: the file does not exist (any more)" in out
    assert "--base-folder" in out
    assert all("e" in block for block in blocks_of(Path("report.html")))


def test_after_a_folder_moved_its_old_name_is_in_the_advice(house: House, report: Report) -> None:
    Path("survey").mkdir()
    house.classify(
        [replace(one, uri=f"survey/{Path(one.uri).name}", path=None) for one in placed(house, Path("survey"))]
    )
    Path("survey").rename("archive")
    said = report()[1]
    assert "Names of images begin with survey, which does not exist here; if it was moved" in said
    assert "--replace-prefix survey=NEW, or with --base-folder the folder that survey is in" in said
    said = report("--base-folder", "archive", "--force")[1]
    assert "begin with survey, which does not exist in archive" in said
    assert "--replace-prefix survey=NEW" in said
    said = report("--replace-prefix", "survey=archive", "--force")[1]
    assert "--replace-prefix" not in said
    assert "Pictures: 3" in said


def test_an_absolute_folder_that_is_gone_is_named_whole(house: House, report: Report) -> None:
    house.classify(placed(house, house.folder / "old" / "survey"))
    (house.folder / "old" / "survey").rename(house.folder / "new")
    said = report()[1]
    old = house.folder / "old" / "survey"
    assert f"--replace-prefix {old}=NEW" in said.replace("'", "")
    assert "--base-folder" not in said


def test_a_base_folder_without_the_images_is_told_apart(house: House, report: Report) -> None:
    Path("empty").mkdir()
    house.classify([replace(one, uri=Path(one.uri).name, path=None) for one in placed(house, Path())])
    for image in Path().glob("*.jpg"):
        image.unlink()
    said = report("--base-folder", "empty")[1]
    assert "No image was found with --base-folder empty: give the folder where names such as red_0.jpg begin" in said


def test_a_filter_without_matches_is_reported(house: House, report: Report) -> None:
    house.classify(trapped(house, 3))
    code, out, _ = report("--taxon", "Nonesuch")
    assert code == 0
    assert "Nothing passes the conditions" in out


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--run", "7"), 1, "there is no run 7"),
        (("--since", "yesterday"), 2, "yesterday"),
        (("--min-probability", "1.5"), 2, "1.5"),
        (("--thumbnail-size", "5000"), 2, "5000"),
        (("--output", "nowhere/report.html"), 1, "does not exist"),
        (("--names", "nothing.csv"), 1, "cannot be read"),
        (("--base-folder", "nowhere"), 1, "folder does not exist"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    house: House, report: Report, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    house.classify(trapped(house, 1))
    got, _, err = report(*arguments)
    assert (got, reason in err) == (code, True)
    assert not Path("report.html").exists()


def test_a_store_that_is_not_there_is_not_made(house: House, report: Report) -> None:
    code, _, _ = report()
    assert code == 1
    assert not Path(house.address).exists()


def test_a_terminated_command_leaves_nothing(house: House) -> None:
    """The command runs in its own process and is ended, as by a batch system, while it draws large pictures."""
    noise = Image.effect_noise((1600, 1200), 60).convert("RGB")
    for number in range(20):
        noise.save(house.folder / f"{number}.png", compress_level=0)
    house.classify([item(house.folder / f"{number}.png") for number in range(20)])
    command = [sys.executable, "-m", "bioclip_plugin", "report", "--store", house.address, "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, cwd=house.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(house.folder.glob(".report.html.*.part")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "Interrupted. Nothing was written; the same command starts again.\n")
    assert [one.name for one in house.folder.iterdir() if "report" in one.name] == []


def test_help_teaches_and_needs_no_store(report: Report) -> None:
    code, out, _ = report("--help")
    assert code == 0
    for expected in ("blurred", "--coordinate-precision", "bioclip-plugin report --taxon Felidae"):
        assert expected in out
