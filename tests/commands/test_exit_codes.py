"""Exit codes: 2 for a wrong command line, 1 for files, folders, models and stores that cannot be used, 3 for some failures."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image

FAKE = ("--model", "fake")
CLASSIFY = ("classify", "photos", *FAKE, "--labels", "labels", "--store", "new.db")

PACKAGE = ("export", "--format", "camtrap-dp", "--store", "results.db", "--output", "p.zip", "--time-zone", "UTC")
ARCHIVE = ("export", "--format", "darwin-core", "--store", "results.db", "--output", "d.zip")

MEGADETECTOR = ("export", "--format", "megadetector", "--store", "results.db", "--output", "m.json")

FILES = {
    "garbage.bin": bytes(range(256)) * 8,
    "nothing.csv": b"",
    "header.csv": b"image,eventDate\n",
    "numbers.csv": b"a,b\n1,2\n",
    "cut.json": b'{"images": [',
    "damaged.db": b"SQLite format 3\0" + b"\x01" * 4096,
    "twice.txt": b"a red fish\na red fish\n",
    "no_words.txt": b"\n",
    "list.txt": b"Nomen nudum\n",
    "dates.csv": b"image,eventDate\nphotos/red.png,03/04/2024 10:00\n",
    "months.csv": b"taxon,month\nRed,13\n",
    "languages.csv": b"scientificName,language,vernacularName\nRed fictus,de,Rotling\nRed fictus,fr,rouge\n",
}

DATA_PROBLEMS = {
    "a missing image": ("classify", "missing.jpg", *FAKE, "--labels", "labels", "--store", "new.db"),
    "a missing folder for embed": ("embed", "missing", *FAKE, "--output", "e.parquet"),
    "cut JSON": ("classify", "cut.json", *FAKE, "--labels", "labels", "--store", "new.db"),
    "a table without images": ("classify", "numbers.csv", *FAKE, "--labels", "labels", "--store", "new.db"),
    "a missing label set": ("classify", "photos", *FAKE, "--labels", "missing", "--store", "new.db"),
    "an empty folder as label set": ("classify", "photos", *FAKE, "--labels", "empty", "--store", "new.db"),
    "labels of another model": ("classify", "photos", *FAKE, "--labels", "others", "--store", "new.db"),
    "missing words": ("classify", "photos", *FAKE, "--labels", "missing.txt", "--store", "new.db"),
    "no words": ("classify", "photos", *FAKE, "--labels", "no_words.txt", "--store", "new.db"),
    "duplicate words": ("classify", "photos", *FAKE, "--labels", "twice.txt", "--store", "new.db"),
    "words without their column": ("classify", "photos", *FAKE, "--labels", "numbers.csv", "--store", "new.db"),
    "a taxon that is not in the labels": (*CLASSIFY, "--taxa", "Nusquamia"),
    "a rank that the labels lack": (*CLASSIFY, "--rank", "label"),
    "an unknown model": ("classify", "photos", "--model", "no-such-model"),
    "a missing model folder": ("classify", "photos", "--model", "local-dir:missing"),
    "a folder that is not a model": ("classify", "photos", "--model", "local-dir:photos"),
    "a damaged store": ("classify", "photos", *FAKE, "--labels", "labels", "--store", "damaged.db"),
    "a folder as store": ("classify", "photos", *FAKE, "--labels", "labels", "--store", "empty"),
    "a missing list of a rule": (*CLASSIFY, "--rule", "only:file=missing.txt"),
    "a list without a known name": (*CLASSIFY, "--rule", "only:file=list.txt"),
    "ranges with a month 13": (*CLASSIFY, "--rule", "prior:file=months.csv"),
    "a geofence that is not JSON": (*CLASSIFY, "--rule", "geofence:file=cut.json"),
    "a missing store": ("export", "--store", "missing.db", "--output", "e.csv"),
    "a run that does not exist": ("export", "--run", "9", "--store", "results.db", "--output", "e.csv"),
    "an output that exists": ("export", "--store", "results.db", "--output", "numbers.csv"),
    "an output in a missing folder": ("export", "--store", "results.db", "--output", "missing/e.csv"),
    "images without a time zone": ("export", "--format", "camtrap-dp", "--store", "results.db", "--output", "p.zip"),
    "missing deployments": (*PACKAGE, "--deployments", "missing.csv"),
    "deployments without their columns": (*PACKAGE, "--deployments", "numbers.csv"),
    "deployments of bytes": (*PACKAGE, "--deployments", "garbage.bin"),
    "a ledger that is not one": (*ARCHIVE, "--ledger", "numbers.csv"),
    "a ledger in a missing folder": (*ARCHIVE, "--ledger", "missing/sent.ledger"),
    "images outside the base folder": (*MEGADETECTOR, "--base-folder", "empty"),
    "a heading that the table lacks": ("embed", "numbers.csv", *FAKE, "--output", "e.parquet", "--column", "image=Foto"),
    "dates whose order nothing shows": ("classify", "dates.csv", *FAKE, "--labels", "labels", "--store", "new.db"),
    "a report of a missing store": ("report", "--store", "missing.db"),
    "a report with missing names": ("report", "--store", "results.db", "--names", "missing.csv"),
    "names in several languages": ("report", "--store", "results.db", "--names", "languages.csv"),
    "names in another language": ("report", "--store", "results.db", "--names", "languages.csv", "--language", "nl"),
    "a missing base folder": ("report", "--store", "results.db", "--base-folder", "missing"),
    "a missing file to validate": ("validate", "missing.json"),
    "a file of no known format": ("validate", "garbage.bin"),
    "bytes as a table": ("validate", "garbage.bin", "--format", "csv"),
    "a folder as a table": ("validate", "photos", "--format", "csv"),
    "a damaged package": ("validate", "cut.json", "--format", "megadetector"),
    "rules in a missing store": ("rules", "apply", "--store", "missing.db", "--rule", "blanks"),
    "rules with a missing list": ("rules", "apply", "--store", "results.db", "--rule", "only:file=missing.txt"),
    "runs of a damaged store": ("runs", "list", "--store", "damaged.db"),
    "a missing run": ("runs", "show", "9", "--store", "results.db"),
    "a missing review": ("review", "import", "missing.csv", "--store", "results.db"),
    "a review without reviews": ("review", "import", "numbers.csv", "--store", "results.db"),
    "a column that no image has": ("second-opinion", "--store", "results.db", "--name-column", "determinavit"),
    "a missing table of labels": ("labels", "build", "missing.csv", *FAKE, "--output", "made"),
    "a table of labels without names": ("labels", "build", "numbers.csv", *FAKE, "--output", "made"),
    "no embeddings": ("labels", "import", "missing.npy", "missing.json", *FAKE, "--output", "made"),
    "a label set to show that is missing": ("labels", "show", "missing"),
    "a missing checklist": ("labels", "doctor", "labels", "--checklist", "missing.csv"),
    "a model to show that is unknown": ("models", "info", "no-such-model"),
    "a missing collection": ("catalog", "build", "missing.csv", "--output", "c.parquet"),
    "an empty folder tree": ("catalog", "build", "empty", "--output", "c.parquet"),
    "a missing list to hold out": ("catalog", "build", "taxa.csv", "--output", "c.parquet", "--holdout-taxa", "no.txt"),
    "a missing taxonomy": ("taxonomy", "resolve", "Acer", "--taxonomy", "missing.taxonomy"),
    "a missing checklist of a taxonomy": ("taxonomy", "build", "missing.tsv", "--output", "made.taxonomy"),
    "a missing catalog": ("train", "--data", "missing.parquet", "--start", "fake", "--output", "made"),
    "a catalog that is not one": ("evaluate", "--data", "garbage.bin", *FAKE, "--split", "val", "--output", "made"),
    "a catalog to calibrate that is missing": ("calibrate", "--data", "missing.parquet", *FAKE, "--labels", "labels"),
    "a catalog of prototypes that is missing": ("prototypes", "build", "--data", "no.parquet", *FAKE, "--output", "made"),
    "a missing catalog for shards": ("shards", "write", "missing.parquet", "--output", "made"),
    "missing shards": ("shards", "check", "missing"),
}  # fmt: skip

MISUSE = {
    "no paths": ("classify", *FAKE, "--store", "new.db"),
    "a rank that does not exist": (*CLASSIFY, "--rank", "tribe"),
    "a threshold beyond 1": (*CLASSIFY, "--threshold", "2"),
    "an unknown rule": (*CLASSIFY, "--rule", "sequence"),
    "an unknown setting of a rule": (*CLASSIFY, "--rule", "sequences:gaps=3"),
    "an unknown time zone": (*CLASSIFY, "--time-zone", "Europe/Bruxelles"),
    "an unknown precision": (*CLASSIFY, "--precision", "fp8"),
    "an unknown format": ("export", "--store", "results.db", "--format", "docx", "--output", "e.docx"),
    "no output": ("export", "--store", "results.db"),
    "a language without names": ("report", "--store", "results.db", "--language", "de"),
    "an unknown option": ("runs", "list", "--nothing"),
    "an unknown command": ("clasify", "photos"),
    "two ends of a shard": ("shards", "write", "c.parquet", "--output", "s", "--samples-per-shard", "9", "--size-mb", "9"),
    "a share beyond 0.9": ("catalog", "build", "taxa.csv", "--output", "c.parquet", "--holdout-taxa", "0.95"),
    "a split that is kept for measuring": ("calibrate", "--data", "c.parquet", *FAKE, "--labels", "labels", "--split", "val"),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with usable photos and files that are not what a command needs."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "photos").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(folder / "photos" / "red.png")
    (folder / "empty").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "taxa.csv").write_text("kingdom,family,genus,specificEpithet\nFictia,Warmidae,Red,fictus\n")
    return folder


@pytest.fixture
def world(prepared: Path, bioclip: Bioclip, tmp_path: Path) -> Bioclip:
    """The command line in a copy of the prepared folder, with labels and a store."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    if not (prepared / "results.db").exists():
        assert bioclip("labels", "build", "taxa.csv", *FAKE, "--output", "labels").code == 0
        assert bioclip("classify", "photos", *FAKE, "--labels", "labels", "--store", "results.db").code == 0
        shutil.copytree("labels", "others")
        manifest = json.loads(Path("others/label_set.json").read_text("utf-8"))
        manifest["encoder"]["weights_sha256"] = "0" * 64
        Path("others/label_set.json").write_text(json.dumps(manifest), "utf-8")
        shutil.copytree(tmp_path, prepared, dirs_exist_ok=True)
    return bioclip


@pytest.mark.parametrize("problem", DATA_PROBLEMS)
def test_a_problem_of_the_data_ends_with_one(world: Bioclip, problem: str) -> None:
    said = world(*DATA_PROBLEMS[problem])
    assert (said.code, said.err.count("Usage:")) == (1, 0), said
    assert (
        said.err.startswith("Error: ") or (" errors, " in said.out or " error, " in said.out) or "Problem: " in said.out
    ), said


@pytest.mark.parametrize("problem", MISUSE)
def test_a_wrong_command_line_ends_with_two(world: Bioclip, problem: str) -> None:
    said = world(*MISUSE[problem])
    assert (said.code, said.out) == (2, ""), said


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("openpyxl", ("export", "--format", "xlsx", "--store", "results.db", "--output", "e.xlsx")),
        ("imagehash", ("catalog", "build", "labelled.csv", "--output", "c.parquet", "--group-by", "image")),
    ],
)
def test_a_library_that_is_not_installed_is_not_misuse(
    world: Bioclip, library: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    Path("labelled.csv").write_text("image,genus\nphotos/red.png,Red\n")
    said = world(*command)
    assert (said.code, "pip install 'bioclip-plugin[" in said.err) == (1, True), said


def test_failures_beside_finished_work_end_with_three(world: Bioclip) -> None:
    Path("photos/zero.jpg").touch()
    assert world(*CLASSIFY).code == 3
    assert world("embed", "photos", *FAKE, "--output", "e.parquet").code == 3


def test_a_wrong_precision_of_the_environment_is_misuse(world: Bioclip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_PRECISION", "fp8")
    said = world(*CLASSIFY)
    assert (said.code, said.err) == (2, "Error: BIOCLIP_PRECISION 'fp8': allowed are auto, fp32, bf16, fp16\n")
