"""``catalog build`` of several sources: one decision per image, from the command line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image

from bioclip_training.catalog.rows import Catalog

SPECIES = ("Red fictus", "Green fictus", "Blue pictus")


def write(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return name


def listed(name: str) -> list[dict[str, str]]:
    with Path(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def noise(seed: int, file: Path) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def collection(bioclip: Bioclip, labels: str) -> list[str]:
    """Sixty images in a table with 12 wrong names, answered, and the 12 corrected by a reviewer; the right names."""
    Path("trap").mkdir()
    right = [SPECIES[n % 3] for n in range(60)]
    rows = []
    for n, name in enumerate(right):
        noise(n, Path(f"trap/{n:02}.png"))
        written = SPECIES[(n + 1) % 3] if n < 12 else name
        genus, epithet = written.split()
        rows.append({
            "image": f"trap/{n:02}.png", "genus": genus, "specificEpithet": epithet, "individualID": f"i{n // 2}", "license": "CC0",
        })  # fmt: skip
    write("old.csv", rows)
    assert bioclip("classify", "old.csv", "--model", "fake", "--labels", labels, "--store", "store.db").code == 0
    reviews = [
        {
            "image": f"trap/{n:02}.png",
            "scientificName": right[n],
            "reviewer": "Ann",
            "reviewedAt": "2021-05-01T10:00:00Z",
        }
        for n in range(12)
    ]
    done = bioclip("review", "import", write("corrected.csv", reviews), "--store", "store.db")
    assert "12 imported" in done.out
    return right


def by_image(catalog: Catalog) -> dict[str, str]:
    uris = catalog.column("uri")
    assert len(set(uris)) == len(uris)
    return {uri: catalog.taxon(row).scientific_name for row, uri in enumerate(uris)}


def test_reviews_correct_the_table_and_no_image_is_there_twice(bioclip: Bioclip, collection: list[str]) -> None:
    built = bioclip("catalog", "build", "old.csv", "store.db", "--output", "c.parquet")
    assert built.code == 0, built.err
    assert built.out.splitlines()[0] == (
        "72 rows read: 60 in the catalog (60 distinct images), 0 skipped, 12 merged with these, 0 undecided"
    )
    catalog = Catalog.open("c.parquet")
    assert by_image(catalog) == {f"trap/{n:02}.png": name for n, name in enumerate(collection)}
    rows = catalog.table.to_pylist()
    assert {(row["evidence"], row["identified_by"]) for row in rows[:12]} == {("review", "Ann")}
    assert {row["evidence"] for row in rows[12:]} == {"catalogue"}
    assert {row["licence"] for row in rows} == {"CC0"}  # the table's row stays, with the reviewer's name
    assert rows[0]["verbatim_name"] == "Green fictus"
    assert rows[0]["changes"][-1] == (
        "label 'Green fictus' of old.csv replaced by the review by Ann of 2021-05-01T10:00:00Z in store.db"
    )
    losers = listed("c.merged.csv")
    assert len(losers) == 12
    assert losers[0] == {
        "uri": "trap/00.png", "source": "store.db", "label": "Red fictus", "evidence": "review by Ann of 2021-05-01T10:00:00Z",
        "other_uri": "trap/00.png", "other_source": "old.csv", "other_label": "Green fictus", "other_evidence": "catalogue name",
        "outcome": "replaced",
        "reason": "the catalogue name yields to 'Red fictus' in store.db (review by Ann of 2021-05-01T10:00:00Z)",
    }  # fmt: skip
    assert "labels of a source replaced by those of one that comes first: 12, listed in c.merged.csv" in built.out


def test_reviews_leave_the_groups_and_splits_of_a_table_as_they_were(bioclip: Bioclip, collection: list[str]) -> None:
    for output, sources in (("alone.parquet", ["old.csv"]), ("both.parquet", ["store.db", "old.csv"])):
        assert bioclip("catalog", "build", *sources, "--val", 0.3, "--output", output).code == 0
    alone, both = Catalog.open("alone.parquet"), Catalog.open("both.parquet")
    for column in ("uri", "group", "source"):
        assert both.column(column) == alone.column(column)
    assert set(both.column("split")) == {"train", "val"}


def test_a_catalog_keeps_its_evidence_when_it_is_a_source_again(bioclip: Bioclip, collection: list[str]) -> None:
    bioclip("catalog", "build", "old.csv", "store.db", "--output", "c.parquet")
    again = bioclip("catalog", "build", "old.csv", "c.parquet", "--output", "d.parquet")
    assert again.out.splitlines()[0].endswith("60 merged with these, 0 undecided")
    assert by_image(Catalog.open("d.parquet")) == {f"trap/{n:02}.png": name for n, name in enumerate(collection)}


def test_a_review_of_an_event_that_a_rule_made_labels_its_images(bioclip: Bioclip, labels: str) -> None:
    Path("trap").mkdir()
    rows = []
    for n in range(4):
        noise(n, Path(f"trap/{n}.png"))
        rows.append(
            {"image": f"trap/{n}.png", "timestamp": f"2021-05-01T10:0{n // 2 * 5}:0{n}Z", "deployment": "north"}
        )
    write("trap.csv", rows)
    done = bioclip(
        "classify", "trap.csv", "--model", "fake", "--labels", labels, "--rule", "sequences", "--store", "store.db"
    )
    assert "2 events" in done.out
    bioclip("export", "--store", "store.db", "--format", "csv", "--output", "answers.csv")
    first, _, third, _ = (row["event"] for row in listed("answers.csv"))
    reviews = [
        {"image": "", "event": first, "verdict": "", "scientificName": "Red fictus", "reviewer": "Ann"},
        {"image": "", "event": third, "verdict": "blank", "scientificName": "", "reviewer": "Ann"},
    ]
    assert "2 imported" in bioclip("review", "import", write("r.csv", reviews), "--store", "store.db").out
    old = [{"image": row["image"], "genus": "Blue", "specificEpithet": "pictus", "eventID": "e"} for row in rows]
    built = bioclip("catalog", "build", write("old.csv", old), "store.db", "--val", 0, "--output", "c.parquet")
    assert by_image(Catalog.open("c.parquet")) == {"trap/0.png": "Red fictus", "trap/1.png": "Red fictus"}
    assert (
        built.out.splitlines()[0]
        == "8 rows read: 2 in the catalog (2 distinct images), 4 skipped, 2 merged with these, 0 undecided"
    )


def test_what_decides_on_an_undecided_image_is_said(bioclip: Bioclip, tmp_path: Path) -> None:
    noise(1, tmp_path / "1.png")
    noise(2, tmp_path / "2.png")
    rows = [
        {"image": "1.png", "genus": "Lynx"},
        {"image": "2.png", "genus": "Lynx"},
        {"image": "1.png", "genus": "Vulpes"},
    ]
    write("one.csv", rows)
    write("a.csv", rows[:2])
    write("b.csv", rows[2:])
    options = ["--group-by", "image", "--val", 0, "--force", "--output", "c.parquet"]
    told = "  undecided: 1 image with contradictory labels, listed in c.merged.csv; review these images or correct one of the labels"
    first, second = bioclip("catalog", "build", "one.csv", *options).out.splitlines()[:2]
    assert (first, second) == ("3 rows read: 1 in the catalog (1 distinct image), 0 skipped, 2 undecided", told)
    second = bioclip("catalog", "build", "a.csv", "b.csv", *options).out.splitlines()[1]
    assert second == f"{told}, or say which source counts with --prefer TABLE"
    decided = bioclip("catalog", "build", "a.csv", tmp_path / "b.csv", "--prefer", tmp_path / "b.csv", *options)
    assert "1 merged with these, 0 undecided" in decided.out
    assert by_image(Catalog.open("c.parquet")) == {"1.png": "Vulpes", "2.png": "Lynx"}


def test_answers_of_a_model_are_no_labels_and_reviews_beside_them_are(bioclip: Bioclip, collection: list[str]) -> None:
    more = [{"image": "trap/20.png", "verdict": "blank", "reviewer": "Bo", "reviewedAt": "2021-05-02T10:00:00Z"}]
    bioclip("review", "import", write("more.csv", more), "--store", "store.db")
    bioclip("export", "--store", "store.db", "--format", "csv", "--output", "answers.csv")
    alone = bioclip("catalog", "build", "answers.csv", "--group-by", "image", "--output", "a.parquet")
    assert alone.out.splitlines()[:2] == [
        "60 rows read: 12 in the catalog (12 distinct images), 48 skipped, 0 undecided", "  skipped: 47 answer of a model",
    ]  # fmt: skip
    both = bioclip("catalog", "build", "old.csv", "answers.csv", "--group-by", "individualID", "--output", "b.parquet")
    assert both.code == 0
    found = by_image(Catalog.open("b.parquet"))
    assert found == {f"trap/{n:02}.png": name for n, name in enumerate(collection) if n != 20}


def test_a_table_of_reviews_counts_before_an_undated_catalogue(bioclip: Bioclip, collection: list[str]) -> None:
    """Whoever gives the reviewer's table itself, and not the store, gets the same labels."""
    bioclip("catalog", "build", "old.csv", "corrected.csv", "--group-by", "image", "--output", "c.parquet")
    catalog = Catalog.open("c.parquet")
    assert by_image(catalog) == {f"trap/{n:02}.png": name for n, name in enumerate(collection)}
    people = dict(zip(catalog.column("uri"), catalog.table.column("identified_by").to_pylist(), strict=True))
    assert [uri for uri, name in sorted(people.items()) if name == "Ann"] == [f"trap/{n:02}.png" for n in range(12)]
