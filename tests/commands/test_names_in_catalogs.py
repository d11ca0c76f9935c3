"""Names that are not scientific ones in ``catalog build``: left out, listed in a map, and decided by options."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image

from bioclip_training.catalog.rows import Catalog

FOLDERS = {
    "Vulpes vulpes": 8, "Vulpes vulpse": 1, "Meles meles": 4, "Blank": 2, "Human": 1, "Vehicle": 1, "Fox; Badger": 1, "Deer": 2,
    "OTU_12": 1, "Vulpes vulpes; Vulpes lagopus": 1,
}  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    made = 0
    for folder, count in FOLDERS.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for _ in range(count):
            noise = np.random.default_rng(made).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / folder / f"{made}.png")
            made += 1
    return tmp_path / "photos"


def build(bioclip: Bioclip, photos: Path, *options: str) -> tuple[str, Mapping[str, int]]:
    said = bioclip("catalog", "build", photos, "--group-by", "image", "--output", "c.parquet", "--force", *options)
    decidable = ("common name", "doubtful name", "several names", "suspected misspelling", "number or code")
    left = any("skipped: " in line and any(kind in line for kind in decidable) for line in said.out.splitlines())
    assert said.code == (3 if left else 0), said.err
    catalog = Catalog.open("c.parquet")
    names = [catalog.taxon(row).scientific_name for row in range(len(catalog))]
    return said.out, {name: names.count(name) for name in sorted(set(names))}


def lines_of(file: str) -> dict[str, dict[str, str]]:
    with Path(file).open(encoding="utf-8") as text:
        return {row["written_name"]: row for row in csv.DictReader(text)}


def test_what_is_no_name_is_left_out_counted_and_listed_in_a_map_to_fill_in(bioclip: Bioclip, photos: Path) -> None:
    said, names = build(bioclip, photos)
    assert names == {"Meles meles": 4, "Vulpes vulpes": 8}
    for line in (
        "skipped: 4 word for a verdict (the first: ",
        "skipped: 2 common name (the first: ",
        "skipped: 2 several names (the first: ",
        "skipped: 1 number or code (the first: ",
        "skipped: 1 suspected misspelling (the first: ",
        "Names to decide: 8 names of 10 rows in c.names_to_map.csv: fill in map_to and give the file with --map",
    ):
        assert line in said
    listed = lines_of("c.names_to_map.csv")
    assert (listed["Blank"]["rows"], listed["Blank"]["suggestion"]) == ("2", "blank")
    assert (listed["Vulpes vulpse"]["suggestion"], listed["Vulpes vulpse"]["map_to"]) == ("Vulpes vulpes", "")
    assert listed["Deer"]["first_example"].endswith("Deer/18.png")


def test_a_filled_map_decides_and_lines_without_effect_are_reported(bioclip: Bioclip, photos: Path) -> None:
    Path("map.csv").write_text(
        "written_name,map_to\ndeer,Cervidae\nFox; Badger,skip\nHuman,person\nVulpes vulpse,Vulpes vulpes\nLynx pardina,Lynx\nOTU_12,\n"
    )
    said, names = build(bioclip, photos, "--map", "map.csv")
    assert names == {"Cervidae": 2, "Meles meles": 4, "Vulpes vulpes": 9}
    assert "lines of --map that no row uses: 1 (the first: line 6 of map.csv, 'Lynx pardina')" in said
    assert "lines of --map without a decision in map_to: 1 (the first: line 7 of map.csv, 'OTU_12')" in said
    assert "decided by --map: 3 rows (for example 'Deer' → 'Cervidae')" in said
    assert set(lines_of("c.names_to_map.csv")) == {"Blank", "Vehicle", "OTU_12", "Vulpes vulpes; Vulpes lagopus"}


def test_a_map_that_was_filled_in_where_it_lies_is_never_replaced(bioclip: Bioclip, photos: Path) -> None:
    build(bioclip, photos)
    own = "written_name,map_to\nDeer,Cervidae\n"
    Path("c.names_to_map.csv").write_text(own)
    said, names = build(bioclip, photos, "--map", "c.names_to_map.csv")
    assert names["Cervidae"] == 2
    assert Path("c.names_to_map.csv").read_text() == own
    assert "c.names_to_map.more.csv" in said


def test_keep_takes_a_name_as_it_is_written(bioclip: Bioclip, photos: Path) -> None:
    Path("map.csv").write_text("written_name,map_to\nVulpes vulpse,keep\n")
    assert build(bioclip, photos, "--map", "map.csv")[1]["Vulpes vulpse"] == 1


def test_several_names_of_an_image_become_the_taxon_that_they_share(bioclip: Bioclip, photos: Path) -> None:
    said, names = build(bioclip, photos, "--split-names")
    assert names == {"Meles meles": 4, "Vulpes": 1, "Vulpes vulpes": 8}
    assert "several names; labelled by the taxon that they share: 1 row" in said
    assert "skipped: 1 several names" in said  # a fox and a badger share nothing that is known


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("name,map_to\nDeer,skip\n", "the columns written_name and map_to are needed"),
        ("written_name,map_to\nDeer,Rotwild\n", "'Rotwild' (a common name"),
        ("written_name,map_to\nDeer,plain\n", "give --plain-labels too"),
        ("written_name,map_to\nDeer,Cervidae\ndeer,Bovidae\n", "lines 2 and 3 say different things"),
    ],
)
def test_a_map_that_says_nothing_usable_is_refused(bioclip: Bioclip, photos: Path, lines: str, reason: str) -> None:
    Path("map.csv").write_text(lines)
    refused = bioclip("catalog", "build", photos, "--output", "c.parquet", "--map", "map.csv")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert reason in refused.err


def test_a_collection_of_common_names_is_refused_with_the_map_that_decides(bioclip: Bioclip, tmp_path: Path) -> None:
    for name in ("Red fox", "Rotfuchs"):
        (tmp_path / "only" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / "only" / name / "1.png")
    refused = bioclip("catalog", "build", "only", "--group-by", "image", "--output", "c.parquet")
    assert refused.code == 1
    assert "2 names of 2 rows in c.names_to_map.csv: fill in map_to" in refused.err
    assert set(lines_of("c.names_to_map.csv")) == {"Red fox", "Rotfuchs"}


def test_real_species_whose_names_are_alike_stay_if_the_sources_know_both(bioclip: Bioclip, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    rows = ["image,scientificName,vernacularName"]
    for at in range(9):
        Image.fromarray(np.random.default_rng(at).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            tmp_path / "i" / f"{at}.png"
        )
        rows.append(f"i/{at}.png," + ("Bos gaurus,gaur" if at == 0 else "Bos taurus,cattle"))
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    assert build(bioclip, tmp_path / "t.csv")[1] == {"Bos gaurus": 1, "Bos taurus": 8}


def test_plain_labels_take_the_words_whatever_their_case_and_leave_verdicts_out(bioclip: Bioclip, photos: Path) -> None:
    (photos / "DEER").mkdir()
    Image.fromarray(np.random.default_rng(99).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(
        photos / "DEER" / "99.png"
    )
    said, names = build(bioclip, photos, "--plain-labels")
    assert names == {"DEER": 3, "Meles meles": 4, "OTU 12": 1, "Vulpes vulpes": 8, "Vulpes vulpse": 1}
    assert "5 taxa (5 plain labels)" in said
    assert "skipped: 4 word for a verdict" in said
    assert "skipped: 2 several names" in said
    catalog = Catalog.open("c.parquet")
    assert all(taxon.is_plain for taxon in catalog.taxa)
    Path("map.csv").write_text("written_name,map_to\nBlank,plain\nVulpes vulpse,Vulpes vulpes\n")
    assert build(bioclip, photos, "--plain-labels", "--map", "map.csv")[1]["Blank"] == 2


def test_words_of_a_label_column_are_taken_with_plain_labels_only(bioclip: Bioclip, photos: Path) -> None:
    Path("t.csv").write_text(
        "image,label\nphotos/Deer/18.png,roe deer\nphotos/Deer/19.png,Roe Deer\nphotos/Blank/13.png,empty\n"
    )
    refused = bioclip("catalog", "build", "t.csv", "--group-by", "image", "--output", "c.parquet")
    assert (refused.code, "--plain-labels takes its words" in refused.err) == (1, True)
    assert build(bioclip, Path("t.csv"), "--plain-labels")[1] == {"roe deer": 2}


def test_options_that_contradict_plain_labels_are_refused(bioclip: Bioclip, photos: Path) -> None:
    said = bioclip("catalog", "build", photos, "--output", "c.parquet", "--plain-labels", "--split-names")
    assert said.code != 0
    assert "which --split-names cannot change: give only one of them" in said.err


def test_plain_labels_have_the_rank_label_and_one_group_each_needs_a_second(bioclip: Bioclip, photos: Path) -> None:
    Path("t.csv").write_text("image,label\nphotos/Deer/18.png,roe deer\nphotos/Blank/13.png,red fox\n")
    said, _ = build(bioclip, Path("t.csv"), "--plain-labels")
    assert "nothing can be evaluated: each species needs images of a second group" in said
    assert "roe deer\tlabel\t" in bioclip("catalog", "show", "c.parquet", "--taxa").out
