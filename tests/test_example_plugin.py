"""The example plugins of the docs, built and installed as packages and used by a host in a separate process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PACKAGES = ("bioclip-field-station", "bioclip-border-detector")

# The host finds the plugin by its entry point, lists a card through it and classifies with the colour model.
HOST = """
import json, sys
from pathlib import Path
from bioclip_core.captions import Caption
from bioclip_core.labels.building import build_label_set
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import ClassifyRequest, create_plugin_manager
from bioclip_plugin import MediaItem
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.testing import FakeModel

folder = Path(sys.argv[1])
fish = ("Animalia", "Chordata", "Actinopterygii", "Fabuliformes", "Fabulidae", "Fabulichthys")
taxa = [Taxon.of((*fish, "ruber"), "red fablefish"), Taxon.of((*fish, "viridis"), "green fablefish"),
        Taxon.of((*fish, "caeruleus"), "blue fablefish")]
pm = create_plugin_manager()
fake = FakeModel()
pm.register(fake)
build_label_set(taxa, fake.encoder, folder / "labels", caption=Caption.TAXONOMIC_COMMON)
request = ClassifyRequest(model="fake", labels=str(folder / "labels"), store=str(folder / "diary.db"))

items = list(Listing([str(folder / "CARD.DAT")], pm.sources()))
photos = [item for item in items if isinstance(item, MediaItem)]
elsewhere = MediaItem(uri="elsewhere.png", path=photos[0].path)
answers = pm.hook.classify_images(items=[*photos, elsewhere], request=request)
print(json.dumps({
    "plugins": {row["name"]: row["distribution"] for row in pm.described()},
    "detectors": {name: detector.version for name, detector in pm.detectors().items()},
    "left_out": [failure.reason for failure in pm.failures],
    "listed": [[item.uri, item.captured_at.isoformat(), item.deployment, item.sequence, item.place.latitude] for item in photos],
    "told": [item.reason for item in items if not isinstance(item, MediaItem)],
    "answers": [[[c.name, round(c.probability, 4)] for c in answer.candidates] for answer in answers],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which pip installed the packages, built from copies because building leaves files behind."""
    base = tmp_path_factory.mktemp("examples")
    left = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    sources = [shutil.copytree(EXAMPLES / name, base / name, ignore=left) for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
               "--disable-pip-version-check", "--target", str(base / "site"), *map(str, sources)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return base / "site"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a camera's card: two photos, and an entry without one."""
    folder = tmp_path_factory.mktemp("card")
    Image.new("RGB", (16, 16), (0, 0, 255)).save(folder / "WB000001.PNG")
    Image.new("RGB", (16, 16), (255, 0, 0)).save(folder / "WB000002.PNG")
    manifest = {
        "wrenbox": "4.1", "unit": "WB-0317", "station": "Tern Ledge", "country": "XF", "latitude": 61.25, "longitude": -31.5,
        "utc_offset_minutes": -60,
        "photos": [
            {"file": "WB000001.PNG", "taken": "2026-05-03T05:12:44", "burst": 7},
            {"taken": "2026-05-03T05:12:45", "burst": 7},
            {"file": "WB000002.PNG", "taken": "2026-05-03T05:12:46", "burst": 7},
        ],
    }  # fmt: skip
    (folder / "CARD.DAT").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def reply(installed: Path, card: Path) -> dict[str, Any]:
    """Return the output of the host."""
    paths = [str(installed), *(path for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FIELD_STATION_DIARY": str(card / "diary.jsonl")}
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(card)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_installed_packages_are_found_by_their_entry_points(reply: dict[str, Any]) -> None:
    assert reply["left_out"] == []
    assert reply["plugins"]["field-station"] == "bioclip-field-station 1.0.0"
    assert reply["plugins"]["border-detector"] == "bioclip-border-detector 1.0.0"
    assert reply["detectors"]["border"] == "1.0"


def test_its_source_recognises_a_card_by_content_and_lists_the_entries_of_the_camera(
    reply: dict[str, Any], card: Path
) -> None:
    assert reply["listed"] == [
        [str(card / "WB000001.PNG"), "2026-05-03T05:12:44-01:00", "Tern Ledge", "WB-0317-7", 61.25],
        [str(card / "WB000002.PNG"), "2026-05-03T05:12:46-01:00", "Tern Ledge", "WB-0317-7", 61.25],
    ]
    assert len(reply["told"]) == 1
    assert "photo 2 lacks a file or a time" in reply["told"][0]


def test_its_checklist_makes_other_species_impossible_at_the_station_and_nowhere_else(reply: dict[str, Any]) -> None:
    at_station, red, elsewhere = reply["answers"]
    # The photo is blue, and blue is not on the list. Red and green have the same cosine, 0, and share the probability.
    assert sorted(at_station) == [["Fabulichthys ruber", 0.5], ["Fabulichthys viridis", 0.5]]
    # The cosines are 1 and 0: e / (e + 1) and 1 / (e + 1).
    assert red == [["Fabulichthys ruber", 0.7311], ["Fabulichthys viridis", 0.2689]]
    # The same blue photo without a place: e / (e + 2), and 1 / (e + 2) for each of the others.
    assert elsewhere[0] == ["Fabulichthys caeruleus", 0.5761]
    assert [probability for _, probability in elsewhere[1:]] == [0.2119, 0.2119]


def test_its_diary_has_a_line_for_every_stored_answer(reply: dict[str, Any], card: Path) -> None:
    lines = [json.loads(line) for line in (card / "diary.jsonl").read_text("utf-8").splitlines()]
    assert [line["photo"] for line in lines] == [*(row[0] for row in reply["listed"]), "elsewhere.png"]
    assert [line["name"] for line in lines] == [candidates[0][0] for candidates in reply["answers"]]
    assert {line["run"] for line in lines} == {1}
