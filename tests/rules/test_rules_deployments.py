"""Deployments from ``classify`` to exports and reports: one answer, by folders, by a table and by a pattern."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from rules_samples import NOON, RED, World, photo

from bioclip_plugin.cli import EXIT_COULD_NOT_RUN, EXIT_DONE, run
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import Store

Call = Callable[..., tuple[int, str, str]]
HEADER = "deploymentID,latitude,longitude,deploymentStart,deploymentEnd,timeZone,clock_shift"


@pytest.fixture
def bioclip(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Command line as a function on the store of the world: exit code, standard output, standard error."""
    monkeypatch.chdir(world.folder)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        given = [*arguments, "--store", world.store] if arguments[0] != "validate" else arguments
        code = run([str(argument) for argument in given], manager=world.manager)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def survey(world: World) -> Path:
    """Two cameras: one whose folder has a folder of the card, and one whose burst goes on in the next folder of the card."""
    folder = world.folder / "survey"
    for name, after_s in (
        ("east/100MEDIA/a.jpg", 0),
        ("east/100MEDIA/b.jpg", 10),
        ("west/DCIM/100EK113/z.jpg", 0),
        ("west/DCIM/101EK113/a.jpg", 1),
    ):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = (NOON + timedelta(seconds=after_s)).strftime("%Y:%m:%d %H:%M:%S")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), RED).save(folder / name, exif=exif)
    return folder


def classify(bioclip: Call, world: World, *more: object) -> tuple[int, str, str]:
    return bioclip(
        "classify", "survey", "--model", "fake", "--labels", world.labels, "--rule", "sequences:gap=60", *more
    )


def table(world: World, *lines: str) -> Path:
    return world.write("cameras.csv", "\n".join((HEADER, *lines)) + "\n")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def exported(bioclip: Call, world: World, *more: object) -> list[dict[str, str]]:
    out = world.folder / "out.csv"
    code, _, said = bioclip("export", "--output", out, "--force", *more)
    assert code == EXIT_DONE, said
    return rows(out)


def test_a_survey_goes_from_classify_to_a_valid_package_and_a_report_by_one_table(
    bioclip: Call, world: World, survey: Path
) -> None:
    given = table(world, "east,51,4,2024-05-01,2024-05-02,Africa/Nairobi,", "west,52,5,2023-05-01,2024-05-02,+03:00,-1 year", "north,53,6,2024-05-01,2024-05-02,UTC,")  # fmt: skip # noqa: E501
    code, out, _ = classify(bioclip, world, "--deployments", given)
    assert code == EXIT_DONE
    assert "2 events, 2 with several regions" in out
    assert "are without images: 1 (the first: line 4: north)" in out
    assert (
        "times were corrected by the clock_shift of their deployment: 2 (the first: survey/west/DCIM/100EK113/z.jpg"
        in out
    )
    found = exported(bioclip, world)  # the table that the run began with
    assert [row["deployment"] for row in found] == ["east", "east", "west", "west"]
    assert [row["captured_at"] for row in found][1:3] == ["2024-05-01T12:00:10+03:00", "2023-05-01T12:00:00+03:00"]
    assert [row["event"] for row in found] == ["east/survey/east@2024-05-01T12:00:00+03:00"] * 2 + ["west/survey/west@2023-05-01T12:00:00+03:00"] * 2  # fmt: skip # noqa: E501
    assert found[0]["latitude"] == "51.0"
    package = world.folder / "package"
    assert bioclip("export", "--format", "camtrap-dp", "--output", package)[0] == EXIT_DONE
    assert bioclip("validate", package)[0] == EXIT_DONE
    assert [row["timestamp"] for row in rows(package / "media.csv")][1:3] == [
        "2024-05-01T12:00:10+03:00", "2023-05-01T12:00:00+03:00",
    ]  # fmt: skip
    comments = {row["deploymentID"]: row["deploymentComments"] for row in rows(package / "deployments.csv")}
    assert comments == {"east": "", "north": "", "west": "Times are those of the camera with a correction of -1 year."}
    page = world.folder / "report.html"
    assert bioclip("report", "--output", page)[0] == EXIT_DONE
    assert re.search(r"cameras</dt><dd>2<", page.read_text("utf-8"))


def test_without_options_the_folders_are_the_cameras_everywhere(bioclip: Call, world: World, survey: Path) -> None:
    code, out, _ = classify(bioclip, world)
    assert (code, "2 events, 2 with several regions" in out) == (EXIT_DONE, True)
    assert [row["deployment"] for row in exported(bioclip, world)] == ["east", "east", "west", "west"]
    page = world.folder / "report.html"
    bioclip("report", "--output", page)
    assert re.search(r"cameras</dt><dd>2<", page.read_text("utf-8"))


def test_a_pattern_names_the_deployments(bioclip: Call, world: World, survey: Path) -> None:
    pattern = r"^(?P<deployment>[^/])"
    classify(bioclip, world)
    assert [row["deployment"] for row in exported(bioclip, world, "--deployment-from", pattern)] == ["e", "e", "w", "w"]
    code, out, _ = bioclip("rules", "apply", "--deployment-from", "folder:9")
    assert code == EXIT_DONE
    assert "images have a path without a deployment according to --deployment-from: 4 (the first: survey/east" in out


def test_another_table_decides_anew_and_the_same_one_does_not(bioclip: Call, world: World, survey: Path) -> None:
    given = table(world, "east,51,4,,,,", "west,52,5,,,,")
    classify(bioclip, world, "--deployments", given)
    _, out, _ = classify(bioclip, world, "--deployments", given)
    assert "every region was decided already" in out
    _, out, _ = bioclip("rules", "apply")
    assert "every region was decided already" in out
    table(world, "east,51,4,,,,+1h", "west,52,5,,,,")
    _, out, _ = bioclip("export", "--output", world.folder / "a.csv")
    assert "table of deployments was changed since the rules decided" in out
    _, out, _ = bioclip("rules", "apply")
    assert "Run 2: the answers of run 1" in out
    assert "Rules: 4 regions of 4 images decided" in out
    given.unlink()
    code, out, _ = bioclip("export", "--run", 1, "--output", world.folder / "b.csv")
    assert code == EXIT_DONE
    assert "table of deployments of the run cannot be used; give it with --deployments: 1" in out
    code, _, said = bioclip("rules", "apply")
    assert code == EXIT_COULD_NOT_RUN
    assert "cameras.csv cannot be read" in said


def test_a_table_that_cannot_be_used_is_refused_before_any_image_is_read(
    bioclip: Call, world: World, survey: Path
) -> None:
    code, _, said = classify(bioclip, world, "--deployments", table(world, "east,91,4,,,,"))
    assert code == EXIT_COULD_NOT_RUN
    assert "cameras.csv, line 2: latitude '91': must be 90 or less" in said
    with Store.open(world.store) as store:
        assert not store.runs()


def test_a_time_of_another_clock_replaces_the_stored_one_and_its_offset(world: World) -> None:
    with world.session() as session:
        utc = photo("v.mp4", RED, captured_at=NOON.replace(tzinfo=UTC))
        list(session.classify_stream([utc]))
        list(session.classify_stream([photo("v.mp4", RED)]))
    with Store.open(world.store) as store:
        (stored,) = store.items_of(store.run())
        assert stored.item.captured_at == NOON


def test_events_of_a_table_are_told_apart_by_its_dates(world: World) -> None:
    lines = ["d1,51,4,2024-05-01,2024-05-01T11:00:00", "d2,51,4,2024-05-01T11:00:00,2024-05-02"]
    given = world.write("t.csv", "deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd\n" + "".join(
        line.replace(",51", ",x,51") + "\n" for line in lines))  # fmt: skip
    at = datetime(2024, 5, 1, 10, 59, 50)
    items = [photo(f"s/x/{n}", RED, deployment=None, captured_at=at + timedelta(seconds=20 * n)) for n in range(3)]
    with world.session("sequences") as session:
        from bioclip_plugin.items.deployment_options import DeploymentOptions

        chosen = session.begin_run(("s",), deployments=DeploymentOptions(given))
        list(session.pipeline(chosen).answers(items))
        session.apply_rules(chosen)
    assert [decision.event.partition("/")[0] for decision in world.decisions() if decision and decision.event] == [
        "d1",
        "d2",
        "d2",
    ]


def test_a_single_folder_is_not_called_a_deployment_in_tables(world: World) -> None:
    items = [MediaItem(f"specimens/{n}.jpg", image=Image.new("RGB", (8, 8), RED)) for n in range(2)]
    with world.session() as session:
        list(session.classify_stream(items))
    from bioclip_plugin.contracts.export import Export

    with Store.open(world.store) as store:
        assert [stored.item.deployment for stored in Export(store, store.run()).items()] == [None, None]


def test_a_table_without_a_rule_is_kept_for_the_exports_and_its_rows_are_compared_with_the_images(
    bioclip: Call, world: World, survey: Path
) -> None:
    given = table(world, "east,51,4,,,,", "north,52,5,,,,")
    code, out, _ = bioclip("classify", "survey", "--model", "fake", "--labels", world.labels, "--deployments", given)
    assert code == EXIT_DONE
    assert "are without images: 1 (the first: line 3: north)" in out
    assert "called like a deployment: 2 (the first: survey/west/DCIM/100EK113/z.jpg)" in out
    assert [row["latitude"] for row in exported(bioclip, world)] == ["51.0", "51.0", "", ""]


def test_one_folder_is_one_camera_of_a_report(bioclip: Call, world: World, survey: Path) -> None:
    bioclip("classify", "survey/east", "--model", "fake", "--labels", world.labels)
    page = world.folder / "report.html"
    bioclip("report", "--output", page)
    assert re.search(r"cameras</dt><dd>1<", page.read_text("utf-8"))


def test_a_megadetector_file_has_the_deployment_and_the_corrected_time(
    bioclip: Call, world: World, survey: Path
) -> None:
    classify(bioclip, world)
    given, out = table(world, "west,52,5,,,,+1h"), world.folder / "md.json"
    code, said, _ = bioclip("export", "--format", "megadetector", "--output", out, "--deployments", given)
    assert code == EXIT_DONE
    assert "called like a deployment: 2 (the first: survey/east/100MEDIA/a.jpg)" in said
    entries = [(entry.get("location"), entry["datetime"]) for entry in json.loads(out.read_text("utf-8"))["images"]]
    assert entries == [
        (None, "2024:05:01 12:00:00"), (None, "2024:05:01 12:00:10"),
        ("west", "2024:05:01 13:00:00"), ("west", "2024:05:01 13:00:01"),
    ]  # fmt: skip
