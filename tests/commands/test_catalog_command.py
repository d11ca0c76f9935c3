"""``catalog``: a table becomes a file, and the command reports the changes."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image

from bioclip_training.catalog.rows import Catalog


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve images of two invented species in six events, one label that is a family, and two unusable rows."""
    (tmp_path / "images").mkdir()
    rows = ["image,eventID,kingdom,family,genus,specificEpithet,scientificName,vernacularName"]
    for seed in range(12):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{seed}.png")
        name = (
            ("Lynx", "fictus", "Lynx fictus Rehder", "invented lynx")
            if seed % 2
            else ("Vulpes", "ficta", "Vulpes ficta", "")
        )
        rows.append(f"images/{seed}.png,night {seed // 2},Metazoa,Fictidae,{','.join(name)}")
    rows[12] = "images/11.png,night 5,Animalia,Fictidae,,,Fictidae,"
    rows += ["images/gone.png,night 6,Animalia,Fictidae,Lynx,fictus,,", "images/1.png,night 6,,,,,unknown,"]
    file = tmp_path / "collection.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_a_table_becomes_a_catalog_and_the_summary_reports_the_changes(bioclip: Bioclip, table: Path) -> None:
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet")
    assert outcome.code == 3, outcome.err  # an image is missing
    assert "14 rows read: 12 in the catalog (12 distinct images), 2 skipped" in outcome.out
    assert "skipped: 1 missing image" in outcome.out
    assert "skipped: 1 no name" in outcome.out
    assert "collection.csv: 14 rows, groups by eventID" in outcome.out
    assert "3 taxa (1 at family, 2 at species); 2 without a common name" in outcome.out
    assert "Names: 11 rows changed; see: bioclip-plugin catalog show c.parquet --changes" in outcome.out
    assert "Next: bioclip-plugin train --data c.parquet --start MODEL --output FOLDER" in outcome.out
    with Path("c.removed.csv").open() as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["missing image", "no name"]
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith((".", "c."))) == [
        "c.parquet",
        "c.removed.csv",
    ]
    catalog = Catalog.open("c.parquet")
    assert all(catalog.path(row).is_file() for row in range(12))


def test_the_summary_lists_changes_by_kind_and_the_first_name_that_cannot_be_used(
    bioclip: Bioclip, table: Path
) -> None:
    lines = table.read_text().splitlines()
    lines[1] = "images/0.png,night 0,Metazoa,Fictidae,,,Vulpes ficta? Rehder,"
    lines[14] = "images/1.png,night 6,,,,,Type of Lynx,"
    table.write_text("\n".join(lines) + "\n")
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet")
    assert (
        "skipped: 1 no name (the first: 1.png: its name cannot be used ('Type of Lynx': a placeholder, not a name))"
        in outcome.out
    )
    assert "  authority removed: 5 rows (for example 'Lynx fictus Rehder' → 'Lynx fictus')" in outcome.out
    assert (
        "  species in doubt or not given; labelled by its genus: 1 row (for example 'Vulpes ficta? Rehder' → 'Vulpes')"
        in outcome.out
    )
    shown = json.loads(bioclip("catalog", "show", "c.parquet", "--json").out)
    assert shown["names_changed_by_kind"]["authority removed"] == {
        "rows": 5,
        "first": "'Lynx fictus Rehder' → 'Lynx fictus'",
    }


def test_a_clean_table_ends_with_success_and_has_no_lists(bioclip: Bioclip, table: Path) -> None:
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:13]))
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet")
    assert outcome.code == 0
    assert not Path("c.removed.csv").exists()


def test_building_again_needs_force_gives_the_same_bytes_and_removes_old_lists(bioclip: Bioclip, table: Path) -> None:
    bioclip("catalog", "build", table, "--output", "c.parquet")
    first = Path("c.parquet").read_bytes()
    refused = bioclip("catalog", "build", table, "--output", "c.parquet")
    assert (refused.code, "exists already" in refused.err) == (1, True)
    assert bioclip("catalog", "build", table, "--output", "c.parquet", "--force", "--workers", 1).code == 3
    assert Path("c.parquet").read_bytes() == first
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:13]))
    assert bioclip("catalog", "build", table, "--output", "c.parquet", "--force").code == 0
    assert not Path("c.removed.csv").exists()


def test_show_prints_the_same_numbers_and_json(bioclip: Bioclip, table: Path) -> None:
    built = bioclip("catalog", "build", table, "--output", "c.parquet")
    shown = bioclip("catalog", "show", "c.parquet")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == built.out.splitlines()[0]
    said = json.loads(bioclip("catalog", "show", "c.parquet", "--json", "--taxa", "--changes").out)
    assert (said["rows"], said["taxa"], said["build"]["left_out"]) == (12, 3, {"missing image": 1, "no name": 1})
    assert [one["name"] for one in said["by_taxon"]] == ["Fictidae", "Lynx fictus", "Vulpes ficta"]
    assert said["changes"] == [
        {"verbatim_name": "Vulpes ficta", "name": "Vulpes ficta", "changes": ["kingdom Metazoa became Animalia"], "rows": 6},
        {
            "verbatim_name": "Lynx fictus Rehder", "name": "Lynx fictus",
            "changes": ["kingdom Metazoa became Animalia", "authority 'Rehder' removed"], "rows": 5,
        },
    ]  # fmt: skip
    assert "invented lynx" in bioclip("catalog", "show", "c.parquet", "--taxa").out
    assert "authority 'Rehder' removed" in bioclip("catalog", "show", "c.parquet", "--changes").out


def test_taxa_are_held_out_by_a_file_of_names(bioclip: Bioclip, table: Path) -> None:
    Path("rare.txt").write_text("Lynx fictus\n")
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet", "--holdout-taxa", "rare.txt", "--val", 0)
    assert "unseen: 5 rows" in outcome.out
    assert "Note: rows moved from train to val, since their groups hold a species that is kept unseen: 5" in outcome.out


def test_names_are_resolved_by_a_taxonomy_file(bioclip: Bioclip, table: Path) -> None:
    Path("names.csv").write_text(
        "taxonID,kingdom,phylum,family,genus,scientificName,taxonRank,taxonomicStatus,acceptedNameUsageID\n"
        "1,Animalia,Chordata,Fictidae,Lynx,Lynx verus,species,accepted,\n"
        "2,Animalia,Chordata,Fictidae,Lynx,Lynx fictus,species,synonym,1\n"
        "3,Animalia,Chordata,,,Fictidae,family,accepted,\n"
    )
    assert bioclip("taxonomy", "build", "names.csv", "--output", "names.taxonomy").code == 0
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet", "--taxonomy", "names.taxonomy")
    assert "Not resolved: 1 name on 6 rows, listed in c.unresolved.csv" in outcome.out
    names = {taxon.scientific_name: taxon.phylum for taxon in Catalog.open("c.parquet").taxa}
    assert names == {"Fictidae": "Chordata", "Lynx verus": "Chordata", "Vulpes ficta": "Chordata"}
    only = bioclip(
        "catalog", "build", table, "--output", "o.parquet", "--taxonomy", "names.taxonomy", "--only-resolved"
    )
    assert "skipped: 6 not resolved" in only.out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["gone.csv"], 1, "gone.csv does not exist; give a table"),
        (["collection.csv", "--group-by", "eventid "], 0, ""),
        (
            ["collection.csv", "--group-by", "camera"],
            1,
            "no source has values in such a column; there are eventID, family, genus",
        ),
        (["collection.csv", "--holdout-taxa", "1.5"], 2, "allowed is a share from 0 to 0.9"),
        (["collection.csv", "--holdout-taxa", "gone.txt"], 1, "there is no such file"),
        (["collection.csv", "--only-resolved"], 2, "--only-resolved needs --taxonomy FILE"),
        (["collection.csv", "--taxonomy", "gone.taxonomy"], 1, "gone.taxonomy"),
        (["collection.csv", "--output", "nowhere/c.parquet"], 1, "the folder nowhere of the output"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(
    bioclip: Bioclip, table: Path, arguments: list[str], code: int, sentence: str
) -> None:
    output = [] if "--output" in arguments else ["--output", "c.parquet"]
    outcome = bioclip("catalog", "build", *arguments, *output)
    assert outcome.code == (code or 3)
    assert sentence in outcome.err
    assert len(outcome.err.splitlines()) <= 1
    assert Path("c.parquet").exists() == (code == 0)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "train", "held_out", "equal"), [("leaves", 680, 310, 0), ("reef_fish", 937, 344, 21)])
def test_real_collections_keep_every_image_once(
    bioclip: Bioclip, name: str, train: int, held_out: int, equal: int
) -> None:
    table = Path(os.environ["BIOCLIP_DATA"]) / "data" / name / "collection.csv"
    assert bioclip("catalog", "build", table, "--output", "c.parquet").code == 0
    said = json.loads(bioclip("catalog", "show", "c.parquet", "--json").out)
    assert said["splits"]["train"]["rows"] == train
    assert sum(split["rows"] for split in said["splits"].values()) == train + held_out
    found = said["build"]["duplicates"]
    assert (found["equal_groups"], found["removed"], found["near_pairs_of_other_taxa"]) == (equal, 0, 0)


def test_the_summary_says_what_the_held_out_images_can_show(bioclip: Bioclip, table: Path) -> None:
    lines = table.read_text().splitlines()[:13]
    splits = ["split", *("val" if number < 4 else "train" for number in range(12))]
    table.write_text("\n".join(f"{line},{split}" for line, split in zip(lines, splits, strict=True)) + "\n")
    outcome = bioclip("catalog", "build", table, "--output", "c.parquet")
    said = "val: 4 images in 2 groups: no difference of two models can be seen, however large (that takes 6 groups)"
    assert said in outcome.out, "four images of two events"
    assert said in bioclip("catalog", "show", "c.parquet").out
    shown = json.loads(bioclip("catalog", "show", "c.parquet", "--json").out)["evidence"]
    assert (shown["val"]["images"], shown["val"]["groups"], shown["val"]["smallest_difference"]) == (4, 2, None)
