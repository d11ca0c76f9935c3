"""Images that are not those that the catalog recorded: skipped, counted and exit code 3 in every command that reads a catalog."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import CatalogRow, table_from

TAXA = {
    "red": Taxon.of(["Fictia", "", "", "", "Warmidae", "Red", "fictus"], "scarlet invention"),
    "green": Taxon.of(["Fictia", "", "", "", "Coldidae", "Green", "fictus"], "leafy invention"),
}
TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    }
}
FAKE = ("--model", "fake")
COMMANDS = {
    "evaluate": ("evaluate", *FAKE, "--data", "c.parquet", "--split", "train", "--output", "out", "--no-few-shot"),
    "few-shot examples": ("evaluate", *FAKE, "--data", "c.parquet", "--output", "out"),
    "calibrate": ("calibrate", *FAKE, "--data", "c.parquet", "--split", "dev", "--labels", "labels"),
    "prototypes build": ("prototypes", "build", *FAKE, "--data", "c.parquet", "--output", "made"),
    "probe build": ("probe", "build", *FAKE, "--data", "c.parquet", "--output", "made"),
    "shards write": ("shards", "write", "c.parquet", "--output", "made"),
    "train": ("train", "--data", "c.parquet", "--start", "new:tiny.json", "--output", "made", "--steps", "3",
              "--batch-size", "8", "--device", "cpu", "--no-wise-ft"),
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Catalog with a hash for each image; 12 are in train, 22 in dev (four have the label of the other colour), 2 in val."""
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    rows = []
    for split, count in (("train", 12), ("dev", 22), ("val", 2)):
        for number in range(count):
            colour, file = ("red", "green")[number % 2], tmp_path / f"{split}-{number}.png"
            Image.new("RGB", (18 + number, 16), (255, 0, 0) if colour == "red" else (0, 255, 0)).save(file)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            named = ("green", "red")[number % 2] if split == "dev" and number % 5 == 4 else colour
            rows.append(CatalogRow(file.name, TAXA[named], split=split, group=file.name, sha256=digest))
    parquet.write_table(table_from(rows), tmp_path / "c.parquet")
    return tmp_path


def encode_again(file: Path) -> None:
    Image.open(file).save(file, compress_level=1)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_image_is_skipped_with_its_reason_and_the_exit_code_is_3(
    bioclip: Bioclip, images: Path, labels: str, command: str
) -> None:
    encode_again(images / "train-1.png")
    encode_again(images / "dev-2.png")
    said = bioclip(*COMMANDS[command])
    assert said.code == 3, said.err
    named = "dev-2.png" if command == "calibrate" else "train-1.png"
    line = next(line for line in said.out.splitlines() if named in line)
    assert "it has other bytes than when the catalog was built: sha256 " in line
    assert "recorded " in line


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"train"}))
def test_images_that_are_the_recorded_ones_give_no_note_and_exit_code_0(
    bioclip: Bioclip, images: Path, labels: str, command: str
) -> None:
    said = bioclip(*COMMANDS[command])
    assert said.code == 0, said.err
    assert "sha256" not in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_collection_that_was_encoded_again_is_refused_before_anything_is_written(
    bioclip: Bioclip, images: Path, labels: str, command: str
) -> None:
    for file in images.glob("*.png"):
        encode_again(file)
    said = bioclip(*COMMANDS[command])
    assert (said.code, len(said.err.splitlines())) == (1, 1), said.err
    assert "are not those that were recorded; the first is" in said.err
    assert "build the catalog again" in said.err
    assert not (images / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "prototypes build", "shards write", "train"])
def test_a_beginning_that_no_image_has_is_reported(bioclip: Bioclip, images: Path, labels: str, command: str) -> None:
    said = bioclip(*COMMANDS[command], "--replace-prefix", "/nowhere=/elsewhere")
    assert said.code == 0, said.err
    assert "--replace-prefix: no image has a name that begins with /nowhere" in said.out


@pytest.mark.parametrize("command", ["probe build", "prototypes build", "train"])
def test_a_beginning_is_not_replaced_in_shards_and_that_is_reported(
    bioclip: Bioclip, images: Path, command: str
) -> None:
    assert bioclip(*COMMANDS["shards write"]).code == 0
    asked = ["made" if word == "c.parquet" else "other" if word == "made" else word for word in COMMANDS[command]]
    said = bioclip(*asked, "--replace-prefix", f"{images}=/elsewhere")
    assert said.code == 0, said.err
    assert "--replace-prefix is without effect on the shards made, which hold their images" in said.out
    assert "no image has a name" not in said.out


@pytest.mark.parametrize("some_are_there", [False, True])
def test_a_catalog_is_built_of_moved_images_with_the_option_that_is_given(
    bioclip: Bioclip, tmp_path: Path, some_are_there: bool
) -> None:
    rows, moved = ["image,scientificName"], tmp_path / "new disk" / "cam 1"
    moved.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (20 + number, 16), (number, 90, 0)).save(moved / f"{number}.png")
        rows.append(f"D:/survey/cam 1/{number}.png,Lynx fictus")
    if some_are_there:
        Image.new("RGB", (30, 16)).save("here.png")
        rows.append("here.png,Lynx fictus")
    Path("table.csv").write_text("\n".join(rows))
    asked = ("catalog", "build", "table.csv", "--output", "made.parquet", "--group-by", "image", "--near-distance", 0)
    said = bioclip(*asked)
    assert said.code == (3 if some_are_there else 1)
    text = said.out if some_are_there else said.err
    assert "4 of 4 missing files are in" in text
    option = shlex.split(text.split("to use them, give ")[1].splitlines()[0])
    assert option == ["--replace-prefix", f"D:/survey={tmp_path / 'new disk'}"]
    assert bioclip(*asked, *option, "--force").code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_images_that_moved_are_found_with_the_option_that_the_message_gives(
    bioclip: Bioclip, images: Path, labels: str, command: str
) -> None:
    moved = images / "the new disk's photos"
    moved.mkdir()
    for file in images.glob("*.png"):
        file.rename(moved / file.name)
    refused = bioclip(*COMMANDS[command])
    assert refused.code == 1
    option = shlex.split(refused.err.split("; give ")[1].rsplit(", or put", 1)[0])
    assert option[0] == "--replace-prefix"
    said = bioclip(*COMMANDS[command], *option)
    assert said.code == 0, said.err + said.out
