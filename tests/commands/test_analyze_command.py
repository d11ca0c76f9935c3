"""``analyze`` on the command line: numbers, pictures, report, interruptions and errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from analysis_samples import analysed_catalog
from command_samples import Bioclip

from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel

HERE = ("analyze", "--data", "catalog.parquet", "--model", "fake", "--permutations", "99", "--rank", "family")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    analysed_catalog(folder)
    return folder


@pytest.fixture
def here(bioclip: Bioclip, made: Path, tmp_path: Path) -> Path:
    for file in made.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def numbers(output: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(output, "analysis.json").read_text("utf-8"))
    return found


def test_numbers_sentences_pictures_and_report_say_the_same(
    bioclip: Bioclip, here: Path, model: FakeModel, manager: BioclipPluginManager
) -> None:
    manager.register(FakeModel("other"))
    (here / "traits.csv").write_text(
        "scientificName,size,colour,empty\n"
        + "".join(
            f"Genus{family:02d}{genus} species0,{10 * family + genus},red,\n"
            for family in range(4)
            for genus in range(2)
            if (family, genus) != (3, 1)
        )
        + "Genus99 species0,1,red,\n",
        "utf-8",
    )
    said = bioclip(
        *HERE, "--traits", "traits.csv", "--image-table", "images.csv", "--compare", "other", "--output", "out"
    )
    assert said.code == 0, said.err
    found = numbers()
    assert found["hierarchy"]["in_order"]["value"] > 0.9
    assert found["hierarchy"]["in_order"]["can_conclude"] is False
    assert found["hierarchy"]["purity"]["images"]["family"]["value"] == 1.0
    assert found["traits"]["size"]["correlation"]["n"] == 7
    assert found["tables"]["traits"] == {
        "rows": 8, "matched": 7, "species": 7, "not_in_catalog": ["Genus99 species0"], "without_row": ["Genus031 species0"],
    }  # fmt: skip
    assert set(found["traits"]["size"]["probe"]) == {"species", "genus", "family"}
    assert found["image_traits"]["habitat"]["correlation"] is None
    assert found["within"]["overlap"]["dimension"] == 3
    assert found["classes"]["lifeStage"]["main"]["whole"]["value"] > 1
    assert "span all 3 dimensions" in found["classes"]["lifeStage"]["all"]["whole"]["reason"]
    assert found["images"] == {
        "n": 64, "groups": 64, "species": 8, "failed": 0, "without_direction": 0, "fewest_per_species": 8, "median_per_species": 8.0,
        "features_reused": 0,
        "clades": {"kingdom": 1, "phylum": 1, "class": 1, "order": 1, "family": 4, "genus": 8},
    }  # fmt: skip
    for sentence in found["findings"]:
        assert sentence in said.out
    page = Path("out", "report.html").read_text("utf-8")
    for shown in ("seed 0", "weights of other", "trait table sha256", "image table sha256", "preprocessing"):
        assert shown in page, shown
    assert (
        "enough independent units: 0; of these different from chance: 0; expected if no trait mattered: about 0.0."
        in page
    )
    assert "Tree: no conclusion: 8 species count as independent, and a conclusion takes 20." in said.out
    assert "Nothing is concluded from fewer than 20." in said.out
    assert "Trait table: 7 of its 8 rows are species of the catalog (size, colour, empty)." in found["about"]
    lacks = "1 of 8 analysed species have no row in the trait table (the first: Genus031 species0); analysis.json lists them."
    assert lacks in found["about"]
    # One line per trait without anything to measure, instead of one per figure.
    assert [line for line in found["findings"] if "colour" in line or "empty" in line] == [
        "Trait colour: all 7 values are red (the first: Genus000 species0), and nothing follows from equal ones.",
        "Trait empty: none of 8 species has a value (the first without: Genus000 species0).",
    ]
    assert found["traits"]["colour"]["correlation"] is None
    assert any(line.startswith("Nearest images: of the same species ") for line in found["findings"])
    page = Path("out/report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert all(
        name in page
        for name in ("Do distances follow the tree?", "Traits of species", "Variation within species", "lifeStage")
    )
    drawn = {path.name for path in Path("out/pictures").iterdir()}
    assert {
        "distances.png",
        "distances.svg",
        "purity_images.png",
        "traits.svg",
        "classes.png",
        "map_images_family.png",
    } <= drawn
    assert "http" not in page.replace("http://www.w3.org", "")
    other = found["compared"]["other"]
    assert other["within"] == found["within"]
    assert (
        other["differences"]["share of comparisons in order"]["value"] == 0
    )  # fakes of another name, with the same features
    assert other["differences"]["neighbours of images in the same family"]["ci95"][0] <= 0
    assert "Beside other: no difference can be told, since no figure has enough independent units." in found["findings"]
    assert '<h2 id="compared">Beside other</h2>' in page
    assert model.encoder.images_encoded == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "test"), "split 'test': catalog.parquet has no rows of it; it has val 64"),
        (("--traits", "missing.csv"), "the table missing.csv cannot be read"),
        (("--trait", "size"), "trait: it is a column of the trait table; give --traits TABLE too"),
        (("--class", "sex"), "class and image-trait are columns of the image table; give --image-table TABLE too"),
        (("--rank", "tribe"), "rank 'tribe': allowed are kingdom"),
        (("--compare", "fake"), "these are the weights of fake itself"),
        (("--most-images", "1"), "most_images 1"),
    ],
)
def test_what_cannot_be_analysed_is_refused_before_an_image_is_encoded(
    bioclip: Bioclip, here: Path, model: FakeModel, options: tuple[str, ...], message: str
) -> None:
    said = bioclip(*HERE, *options, "--output", "out")
    assert said.code == 2 or said.code == 1 or said.code > 3
    assert message in said.err
    assert model.encoder.images_encoded == 0
    assert not Path("out").exists()


def test_an_output_that_is_no_analysis_is_never_replaced(bioclip: Bioclip, here: Path) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    assert "exists; give another folder, or --force" in bioclip(*HERE, "--output", "out").err
    assert "is not an analysis, so --force does not replace it" in bioclip(*HERE, "--output", "out", "--force").err
