"""``--fetch`` on the command line: without it, images on the web are failures with one line that names it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from command_samples import Bioclip
from darwin_samples import archive
from image_server import ImageServer, image, status
from PIL import Image

from bioclip_plugin.items.web import ON_THE_WEB

FETCH = (
    "--fetch",
    "images",
    "--fetch-private",
    "--fetch-rate",
    1000,
    "--fetch-contact",
    "me@museum.example",
    "--fetch-tries",
    1,
)


@pytest.fixture
def server(server: ImageServer) -> ImageServer:
    """The server with a red, a green and a blue image."""
    for colour in ("red", "green", "blue"):
        stream = io.BytesIO()
        Image.new("RGB", (20, 10), {"green": "lime"}.get(colour, colour)).save(stream, "PNG")
        server.add(f"/{colour}.png", stream.getvalue())
    return server


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(("image,catalogNumber,country", *rows)) + "\n", encoding="utf-8")
    return str(path)


def test_a_catalog_says_what_to_do_with_addresses_and_is_built_from_the_files_in_the_folder_that_it_asks_for(
    bioclip: Bioclip,
) -> None:
    lines = [f"https://example.org/x/{n}%20b.png?v=1,Quercus {n},{n}" for n in ("robur", "alba")]
    Path("t.csv").write_text("\n".join(["image,scientificName,plant", *lines]))
    build = ("catalog", "build", "t.csv", "--output", "c.parquet", "--group-by", "plant")
    outcome = bioclip(*build)
    assert outcome.code == 1
    said = re.search(r"download it, and .*(--replace-prefix) (\S+=)FOLDER", outcome.out + outcome.err)
    assert said is not None, outcome.out + outcome.err
    for folder, name in (("as_written", "{}%20b.png?v=1"), ("as_downloaded", "{} b.png?v=1")):
        Path(folder).mkdir()
        for shade, plant in enumerate(("robur", "alba")):
            Image.new("RGB", (20, 20), (9, shade * 99, 9)).save(Path(folder, name.format(plant)), "PNG")
        outcome = bioclip(*build, "--force", said[1], f"{said[2]}{folder}")
        assert outcome.code == 0, outcome.out + outcome.err
        assert "2 rows" in outcome.out + outcome.err


def test_without_a_folder_addresses_fail_with_a_count_and_the_first_example(bioclip: Bioclip, labels: str) -> None:
    given = table(Path("t.csv"), *(f"https://example.org/{n}.jpg,{n},BE" for n in range(5)))
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db")
    assert outcome.code == 3
    said = outcome.out + outcome.err
    assert f"{ON_THE_WEB}: 5 (the first: https://example.org/0.jpg)" in said
    assert "5 x fetch: the image is on the web, and nothing is fetched without --fetch FOLDER" in said


def test_a_table_of_addresses_is_fetched_answered_and_exported_as_it_came(
    bioclip: Bioclip, labels: str, server: ImageServer
) -> None:
    red, blue = server.url("/red.png"), server.url("/blue.png")
    given = table(
        Path("t.csv"), f"{red},1,BE", f"{blue},2,FR", f"{red},3,NL", f"{red},1,BE", f"{server.url('/gone.png')},4,BE"
    )
    classify = ("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH)
    outcome = bioclip(*classify)
    said = outcome.out + outcome.err
    assert outcome.code == 3, said
    assert "Images by address: 2 fetched" in said
    assert f"1 x fetch: HTTP 404 Not Found from 127.0.0.1:{server.port}" in said
    assert "rows name an address of an earlier row, with other values" in said
    assert bioclip("export", "--store", "r.db", "--format", "csv", "--output", "out.csv").code == 0
    found = [
        (row["uri"], row["country"], row["scientific_name"], row["status"])
        for row in rows_of("out.csv")
        if row["failure_stage"] != "list"
    ]
    assert found == [
        (red, "BE", "Red fictus", "done"), (blue, "FR", "Blue pictus", "done"), (f"{red}#row=3", "NL", "Red fictus", "done"),
        (server.url("/gone.png"), "BE", "", "failed"),
    ]  # fmt: skip
    assert server.counts() == {"/red.png": 1, "/blue.png": 1, "/gone.png": 1}
    assert bioclip("runs", "verify", "--store", "r.db").code == 0
    assert bioclip("report", "--store", "r.db", "--output", "report.html").code == 0
    page = Path("report.html").read_text("utf-8")
    assert page.count('"i":[') == 3
    shutil.rmtree("images")
    assert bioclip("report", "--store", "r.db", "--output", "without.html").code == 0
    assert "not in the folder of fetched images" in Path("without.html").read_text("utf-8")
    again = bioclip(
        "classify", "out.csv", "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH
    )  # names of the export
    assert server.counts()["/red.png"] == 1, again.out + again.err


def test_a_camtrap_dp_package_on_the_web_keeps_its_file_paths_and_notes_the_licence_of_its_media(
    bioclip: Bioclip, labels: str, server: ImageServer
) -> None:
    folder = Path("package")
    folder.mkdir()
    licences = [{"name": "CC0-1.0", "scope": "data"}, {"name": "CC-BY-NC-4.0", "scope": "media"}]
    tables = {
        "deployments": "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n"
        "d1,50.5,4.5,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z\n",
        "media": "mediaID,deploymentID,captureMethod,timestamp,filePath,filePublic,fileName,fileMediatype\n"
        + "".join(f"m{n},d1,activityDetection,2024-01-0{n + 1}T00:00:00Z,{server.url(f'/{c}.png')},true,{c}.png,image/png\n"
                  for n, c in enumerate(("red", "green"))),
        "observations": "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType\n",
    }  # fmt: skip
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "datapackage.json").write_text(json.dumps({
        "name": "p", "id": "p", "licenses": licences,
        "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/camtrap-dp-profile.json",
        "resources": [{"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in tables],
    }))  # fmt: skip
    outcome = bioclip("classify", "package", "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH)
    assert outcome.code == 0, outcome.out + outcome.err
    (record, *_) = [json.loads(path.read_text()) for path in Path("images/manifest").rglob("*.json")]
    assert record["licence"] == "CC-BY-NC-4.0"
    exported = bioclip(
        "export",
        "--store",
        "r.db",
        "--format",
        "camtrap-dp",
        "--output",
        "out.zip",
        "--contributor",
        "Me <me@museum.example>",
    )
    if exported.code == 0:
        with zipfile.ZipFile("out.zip") as file:
            media = list(csv.DictReader(io.StringIO(file.read("media.csv").decode())))
        assert [row["filePath"] for row in media] == [server.url("/red.png"), server.url("/green.png")]
    assert exported.code == 0, exported.out + exported.err


def test_a_host_that_was_away_is_asked_again_by_the_same_command(
    bioclip: Bioclip, labels: str, server: ImageServer
) -> None:
    addresses = [server.url(f"/{colour}.png") for colour in ("red", "green", "blue")]
    given = table(Path("t.csv"), *(f"{address},{n},BE" for n, address in enumerate(addresses)))
    classify = ("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH)
    server.stop()
    assert bioclip(*classify).code == 3
    server.start()
    outcome = bioclip(*classify)
    assert outcome.code == 0, outcome.out + outcome.err
    assert sorted(server.counts().values()) == [1, 1, 1]


def test_files_that_were_downloaded_are_used_with_the_beginning_of_their_addresses_replaced(
    bioclip: Bioclip, labels: str, photos: Path
) -> None:
    given = table(Path("t.csv"), "https://example.org/media/red.png,1,BE")
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db",
                      "--replace-prefix", f"https://example.org/media/={photos}")  # fmt: skip
    assert outcome.code == 0, outcome.out + outcome.err


def test_embed_fetches_too(bioclip: Bioclip, server: ImageServer) -> None:
    given = table(Path("t.csv"), f"{server.url('/red.png')},1,BE", f"{server.add('/no.png', status(410))},2,BE")
    outcome = bioclip("embed", given, "--model", "fake", "--output", "f.parquet", *FETCH)
    assert outcome.code == 3
    assert "HTTP 410 Gone from 127.0.0.1" in outcome.out + outcome.err
    assert "Images by address: 1 fetched" in outcome.out + outcome.err


def test_a_tiff_of_several_pages_is_classified_by_its_first_and_counted(
    bioclip: Bioclip, labels: str, server: ImageServer
) -> None:
    stream = io.BytesIO()
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    given = table(Path("t.csv"), f"{server.add('/a.tif', image(stream.getvalue()))},1,BE")
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "TIFF files on the web have several pages, of which the first is classified: 1" in outcome.out + outcome.err


def test_files_that_come_beside_an_archive_later_take_the_place_of_addresses_that_were_never_asked_for(
    bioclip: Bioclip, labels: str, photos: Path
) -> None:
    media = [{"coreid": "s1", "identifier": f"https://example.org/{colour}.png"} for colour in ("red", "blue")]
    folder = archive(Path("dwca"), media, [{"id": "s1", "country": "BE"}])
    classify = ("classify", "dwca", "--model", "fake", "--labels", labels, "--store", "r.db")
    assert bioclip(*classify).code == 3
    for name in ("red.png", "blue.png"):
        shutil.copy(photos / name, folder / name)
    outcome = bioclip(*classify)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "2 images, 2 done, 0 failed" in outcome.out + outcome.err


def test_a_report_without_the_folder_names_it_and_the_way_to_get_the_images_back(
    bioclip: Bioclip, labels: str, server: ImageServer
) -> None:
    given = table(Path("t.csv"), *(f"{server.url(f'/{colour}.png')},1,BE" for colour in ("red", "blue")))
    classify = ("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db", *FETCH)
    assert bioclip(*classify).code == 0
    shutil.rmtree("images")
    outcome = bioclip("report", "--store", "r.db")
    said = " ".join((outcome.out + outcome.err).split())
    assert "2 images could not be shown" in said
    assert "http:=NEW" not in said
    assert "no file of theirs is in the folder images" in said
    assert "classify again with --fetch images --rehash" in said
    assert bioclip(*classify, "--rehash").code == 0
    outcome = bioclip("report", "--store", "r.db", "--force")
    assert "Pictures: 2" in outcome.out + outcome.err


def test_options_of_fetching_without_a_folder_are_not_ignored_in_silence(
    bioclip: Bioclip, labels: str, photos: Path
) -> None:
    classify = ("classify", photos, "--model", "fake", "--labels", labels, "--store", "r.db")
    outcome = bioclip(*classify, "--fetch-private", "--fetch-contact", "me@museum.example")
    assert (
        "options of fetching have no effect without --fetch FOLDER: 2 (the first: --fetch-" in outcome.out + outcome.err
    )
    assert "options of fetching" not in (again := bioclip(*classify)).out + again.err
    outcome = bioclip("embed", photos, "--model", "fake", "--output", "f.parquet", "--fetch-rate", 3)
    assert "without --fetch FOLDER: 1 (the first: --fetch-rate)" in outcome.out + outcome.err


def test_an_empty_folder_name_is_refused_and_not_taken_for_the_present_folder(bioclip: Bioclip, labels: str) -> None:
    given = table(Path("t.csv"), "https://example.org/a.png,1,BE")
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db", "--fetch", "")
    assert outcome.code in (1, 2)
    assert "--fetch" in outcome.out + outcome.err
    assert "is empty" in outcome.out + outcome.err


def test_a_very_long_address_is_cut_in_the_middle_where_it_is_printed(bioclip: Bioclip, labels: str) -> None:
    long = f"https://example.org/{'x' * 5000}/last.jpg"
    given = table(Path("t.csv"), f"{long},1,BE")
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db")
    said = outcome.out + outcome.err
    assert outcome.code == 3
    assert "x" * 400 not in "".join(said.split())
    assert "last.jpg" in said
    outcome = bioclip("embed", given, "--model", "fake", "--output", "f.parquet")
    assert "x" * 400 not in "".join((outcome.out + outcome.err).split())
