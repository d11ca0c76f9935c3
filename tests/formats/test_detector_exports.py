"""The same photographs with a MegaDetector file and with a detector that gives the same boxes: equal exports, reports and decisions."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bioclip_plugin import create_plugin_manager, hookimpl
from bioclip_plugin.cli import run as run_cli
from bioclip_plugin.plugin_api import Detection
from bioclip_plugin.testing import FakeModel

Box = tuple[str, float, tuple[float, float, float, float]]
NAME, VERSION = "twin", "7.1"

LEFT, RIGHT, MIDDLE = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0), (0.25, 0.25, 0.5, 0.5)
BOXES: dict[str, list[Box]] = {
    "animal": [("animal", 0.9, LEFT)],
    "blank": [],
    "both": [("animal", 0.8, LEFT), ("person", 0.7, RIGHT)],
    "broken": [("animal", 0.9, LEFT)],
    "car": [("vehicle", 0.9, MIDDLE)],
    "deer": [("deer", 0.9, LEFT)],
    "faint": [("animal", 0.05, LEFT)],
    "herd": [("animal", 0.9, LEFT), ("animal", 0.4, RIGHT), ("animal", 0.02, MIDDLE)],
    "ghosts": [("person", 0.03, LEFT), ("vehicle", 0.03, RIGHT), ("animal", 0.03, MIDDLE)],
    "hiker": [("Pedestrian", 0.6, MIDDLE)],
    "shadow": [("person", 0.03, MIDDLE)],
    "turned": [("animal", 0.9, (0.0, 0.0, 1.0, 0.5))],
}
"""Boxes of each photograph. Its number gives its width, by which the detector knows it."""
NUMBERS = {100 + number: name for number, name in enumerate(BOXES)}
WORDS = ("animal", "person", "vehicle", "deer", "Pedestrian")


class Twin:
    """A detector that knows the photographs."""

    name, version, side = NAME, VERSION, 512

    def identity(self) -> Mapping[str, Any]:
        return {"weights": "twin"}

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> list[list[Detection]]:
        return [
            [Detection(*box, category, confidence) for category, confidence, box in BOXES[NUMBERS[max(image.shape)]]]
            for image in images
        ]

    @hookimpl
    def register_detectors(self, register: Any) -> None:
        register(self)


def photographs(folder: Path) -> None:
    """Write the photographs: red on the left, green on the right, one minute apart at two cameras."""
    for width, name in NUMBERS.items():
        pixels = np.zeros((64, width, 3), np.uint8)
        pixels[:, : width // 2, 0] = 255
        pixels[:, width // 2 :, 1] = 255
        image, exif = Image.fromarray(pixels), Image.Exif()
        if name == "turned":  # upright, red is at the top
            exif[274] = 6
            image = Image.fromarray(np.rot90(np.rot90(pixels, -1), 1))
        seconds = list(BOXES).index(name) * 20
        exif.get_ifd(0x8769)[36867] = f"2024:05:01 12:{seconds // 60:02}:{seconds % 60:02}"
        path = folder / ("north" if width % 2 else "south") / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=95, exif=exif)
        if name == "broken":
            path.write_bytes(path.read_bytes()[:-400])


def megadetector_file(folder: Path, path: Path) -> None:
    numbers = {word: str(number) for number, word in enumerate(WORDS, start=1)}
    files = {file.stem: file for file in folder.rglob("*.jpg")}
    images = [
        {
            "file": str(file),
            "detections": [
                {"category": numbers[category], "conf": confidence, "bbox": list(box)}
                for category, confidence, box in BOXES[name]
            ],
        }
        for name, file in sorted(files.items(), key=lambda pair: str(pair[1]))
    ]
    info = {
        "format_version": "1.4",
        "detector": NAME,
        "detector_metadata": {"megadetector_version": VERSION},
    }
    categories = {number: word for word, number in numbers.items()}
    path.write_text(json.dumps({"info": info, "detection_categories": categories, "images": images}))


DEPLOYMENTS = (
    "deploymentID,latitude,longitude,deploymentStart,deploymentEnd,timeZone\n"
    "north,61.5,23.8,2024-04-01,2024-06-01,Europe/Helsinki\n"
    "south,60.5,23.8,2024-04-01,2024-06-01,Europe/Helsinki\n"
)
TAXA = (
    "kingdom,phylum,class,order,family,genus,specificEpithet,vernacularName\n"
    "Animalia,Chordata,Mammalia,Carnivora,Warmidae,Red,fictus,scarlet invention\n"
    "Animalia,Chordata,Mammalia,Carnivora,Coldidae,Green,fictus,leafy invention\n"
    "Animalia,Chordata,Mammalia,Carnivora,Coldidae,Blue,pictus,azure invention\n"
)
SIDES = ("file", "detector")
KINDS = ("animal", "human", "vehicle", "blank")
ABOUT_THE_RUN = ("provenance.json",)
"""Files with the settings of a run, which name its inputs and its detector."""
EXPORTS: dict[str, tuple[str, ...]] = {
    "table.csv": ("--format", "csv"),
    "images.csv": ("--format", "csv", "--per", "image"),
    "events.csv": ("--format", "csv", "--per", "event"),
    "table.jsonl": ("--format", "jsonl"),
    "table.parquet": ("--format", "parquet"),
    "table.xlsx": ("--format", "xlsx"),
    "md.json": ("--format", "megadetector", "--base-folder", "photos"),
    "sn.json": ("--format", "speciesnet", "--base-folder", "photos"),
    "camtrap": ("--format", "camtrap-dp"),
    "darwin": ("--format", "darwin-core"),
    "insights": ("--format", "wildlife-insights"),
    "folders": ("--format", "folders"),
}
RULES = {
    "blanks": ("--rule", "blanks"),
    "sequences": ("--rule", "sequences", "--rule", "blanks", "--rule", "thresholds:species=0.5"),
    "ensemble": ("--rule", "speciesnet-ensemble"),
}


def content_of(path: Path) -> dict[str, str]:
    """Return an output as texts by file: tables and workbooks by their cells, folders by their links."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_symlink() or file.is_file())
        return {
            str(file.relative_to(path)): "link" if file.is_symlink() else text
            for file in files
            for text in (content_of(file).values() if not file.is_symlink() else ("",))
        }
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        return {"": json.dumps(parquet.read_table(path).to_pylist(), default=str, indent=1)}
    if path.suffix == ".xlsx":
        import openpyxl

        sheets = openpyxl.load_workbook(path).worksheets
        return {sheet.title: "\n".join(str([cell.value for cell in row]) for row in sheet) for sheet in sheets}
    return {"": path.read_text("utf-8")}


MASKS = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{12,64}\b", "<hash>"),  # of the run and its settings
    (r"20(?!24)\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s\",<]*", "<moment>"),  # of the run, not of a photograph
)


def masked(text: str) -> str:
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    return text


def call(*arguments: object) -> tuple[int, str]:
    """Run a command with the fake model and the detector; return exit code and output."""
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    manager.register(Twin())
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = run_cli([str(argument) for argument in arguments], manager=manager)
    return code, out.getvalue()


def classified(side: str, *rules: str) -> None:
    """Classify the photographs with the boxes of one side, into a store of its name."""
    given = ("photos", "--detector", NAME) if side == "detector" else ("md.json",)
    code, said = call("classify", *given, "--model", "fake", "--labels", "labels", "--store", f"{side}.db",
                      "--exact", "--deployments", "deployments.csv", *rules)  # fmt: skip
    assert code == 3, said  # one photograph is broken
    assert "12 images, 11 done, 1 failed" in said


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder, as working directory, with the stores ``file.db`` and ``detector.db`` of the same photographs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pair"))
        photographs(Path("photos"))
        megadetector_file(Path("photos"), Path("md.json"))
        Path("deployments.csv").write_text(DEPLOYMENTS)
        Path("taxa.csv").write_text(TAXA)
        assert call("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels")[0] == 0
        for side in SIDES:
            classified(side)
        yield Path()


def exports(name: str, options: tuple[str, ...], folder: Path) -> list[dict[str, str]]:
    """Return both sides' exports, without hashes, identifiers and moments of a run."""
    found = []
    for side in SIDES:
        (folder / side).mkdir(parents=True)
        output = folder / side / name
        code, said = call("export", "--store", f"{side}.db", *options, "--output", output)
        assert code == 0, said
        found.append({file: masked(text) for file, text in content_of(output).items()})
    return found


@pytest.mark.parametrize("name", list(EXPORTS))
def test_an_export_is_the_same_with_boxes_from_a_file_and_from_a_detector(
    pair: Path, tmp_path: Path, name: str
) -> None:
    of_file, of_detector = exports(name, EXPORTS[name], tmp_path)
    assert of_detector.keys() == of_file.keys()
    for file, text in of_file.items():
        if file not in ABOUT_THE_RUN:
            assert _without_author(of_detector[file]) == _without_author(text), file


def _without_author(text: str) -> str:
    """Return a table of observations without the author of blanks: a file does not say who looked at an image without boxes."""
    return re.sub(r"(,media,blank,.*,machine,)[^,]*", r"\1<author>", text)


def test_the_detector_and_its_version_are_named_wherever_a_format_has_a_place(pair: Path, tmp_path: Path) -> None:
    _, packages = exports("camtrap", EXPORTS["camtrap"], tmp_path / "camtrap")
    rows = list(csv.DictReader(io.StringIO(packages["observations.csv"])))
    authors = {kind: {row["classifiedBy"] for row in rows if row["observationType"] == kind} for kind in KINDS}
    assert authors == {
        "animal": {"fake (bioclip-plugin 0.1.0)"},
        "human": {"twin 7.1"},
        "vehicle": {"twin 7.1"},
        "blank": {"twin 7.1"},
    }
    _, text = exports("md.json", EXPORTS["md.json"], tmp_path / "md")
    header = json.loads(text[""])
    assert (header["info"]["detector"], header["info"]["detector_metadata"]["megadetector_version"]) == (NAME, VERSION)
    assert header["detection_categories"] == {str(number): word for number, word in enumerate(WORDS, start=1)}
    _, archive = exports("darwin", EXPORTS["darwin"], tmp_path / "darwin")
    assert '"name": "twin"' in archive["provenance.json"]
    assert '"version": "7.1"' in archive["provenance.json"]


@pytest.mark.parametrize("rules", list(RULES))
def test_decisions_by_rules_are_the_same(pair: Path, tmp_path: Path, rules: str) -> None:
    for side in SIDES:
        classified(side, *RULES[rules])
    for name in ("table.csv", "sn.json"):
        of_file, of_detector = exports(name, EXPORTS[name], tmp_path / name)
        assert of_detector == of_file


@pytest.mark.parametrize("rules", ["", "blanks"])
@pytest.mark.parametrize("side", SIDES)
def test_below_the_threshold_nothing_is_observed_and_people_are_hidden_all_the_same(
    pair: Path, tmp_path: Path, side: str, rules: str
) -> None:
    classified(side, *RULES.get(rules, ()))

    def rows(name: str, file: str, *options: str) -> list[dict[str, str]]:
        output = tmp_path / name
        assert call("export", "--store", f"{side}.db", *EXPORTS[name], *options, "--output", output)[0] == 0
        with (output / file if file else output).open(encoding="utf-8", newline="") as table:
            return list(csv.DictReader(table))

    media = {row["mediaID"]: row for row in rows("camtrap", "media.csv")}
    with (tmp_path / "camtrap/observations.csv").open(encoding="utf-8", newline="") as table:
        said = [(Path(media[row["mediaID"]]["filePath"]).stem, row["observationType"]) for row in csv.DictReader(table)]
    assert sorted(pair for pair in said if pair[0] in ("ghosts", "shadow", "faint")) == [
        ("faint", "blank"), ("ghosts", "blank"), ("shadow", "blank"),
    ]  # fmt: skip
    images = {Path(row["uri"]).stem: row for row in rows("images.csv", "")}
    assert {name: images[name]["decision"] for name in ("ghosts", "shadow")} == {"ghosts": "blank", "shadow": "blank"}
    assert {images[name]["counts"] for name in ("ghosts", "shadow")} == {""}
    named = rows("insights", "images.csv")
    assert {row["common_name"] for row in named if Path(row["location"]).stem in ("ghosts", "shadow")} == {"Blank"}
    hidden = {Path(row["filePath"]).stem for row in media.values() if row["filePublic"] == "false"}
    assert hidden == {"both", "ghosts", "hiker", "shadow"}
    code, told = call("report", "--store", f"{side}.db", "--output", tmp_path / "report.html")
    assert code == 0
    assert "People were blurred in 4 images." in told


def test_the_report_shows_the_same_cards_pictures_and_blurs(pair: Path, tmp_path: Path) -> None:
    pages = []
    for side in SIDES:
        output = tmp_path / f"{side}.html"
        code, said = call("report", "--store", f"{side}.db", "--output", output)
        assert code == 0, said
        pages.append(output.read_text("utf-8"))
    blocks = [re.findall(r"<script[^>]*>(.*?)</script>", masked(page), re.S) for page in pages]
    assert len(blocks[0]) > 10
    assert blocks[0] == blocks[1]
    assert "twin 7.1, boxes from 0.2" in pages[1]


def test_json_lines_of_classify_are_the_same_beside_the_words_of_the_detector(pair: Path) -> None:
    lines = []
    for given in (("photos", "--detector", NAME), ("md.json",)):
        code, said = call("classify", *given, "--model", "fake", "--labels", "labels", "--store", "json.db", "--json",
                          "--exact")  # fmt: skip
        assert code == 3
        lines.append([json.loads(line) for line in said.splitlines() if line.startswith("{")])
    detections = [row.pop("detection", None) for row in lines[0]]
    assert lines[0] == lines[1]
    of_car = next(said for row, said in zip(lines[0], detections, strict=True) if row["uri"].endswith("car.jpg"))
    assert of_car == {"category": "vehicle", "confidence": 0.9, "detector": NAME, "detector_version": VERSION}
    assert sum(said is not None for said in detections) == sum(map(len, BOXES.values())) - len(BOXES["broken"])


def test_reviews_and_second_opinions_meet_the_boxes_of_a_detector(pair: Path, tmp_path: Path) -> None:
    said = []
    for side in SIDES:
        store = tmp_path / f"{side}.db"
        shutil.copy(f"{side}.db", store)
        table = tmp_path / f"{side}.csv"
        assert call("export", "--store", store, "--format", "csv", "--output", table)[0] == 0
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if row["region_x"] and row["detection_category"] == "animal":
                row |= {"review_verdict": "taxon", "review_scientific_name": "Green fictus", "reviewer": "A. Nonymous"}
            elif row["detection_category"] in ("person", "Pedestrian"):
                row |= {"review_verdict": "person", "reviewer": "A. Nonymous"}
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        imported, told = call("review", "import", table, "--store", store)
        assert imported == 0, told
        agreement = call("review", "stats", "--store", store)
        assert agreement[0] == 0
        said.append([re.sub(r"\S+\.(db|csv)", "", text) for text in (told, agreement[1])])
    assert said[0] == said[1]
