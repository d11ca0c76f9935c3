"""``catalog build`` on published collections: the layout is said, its labels are what they are, and a wrong guess is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command_samples import Bioclip
from PIL import Image
from published_samples import write_treeoflife
from pyarrow import parquet

from bioclip_plugin.labelled import published
from bioclip_training.catalog.rows import Catalog


def pictures(*names: str) -> None:
    for seed, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(name)


def bioscan() -> None:
    pictures(*(f"bioscan/images/part1/{n}.jpg" for n in range(4)))
    rows = [f"P{n}\t{n}.jpg\tArthropoda\tSciaridae\tnot_classified\tBOLD:AAA{n}\t1" for n in range(4)]
    Path("bioscan/metadata.tsv").write_text(
        "\n".join(["processid\timage_file\tphylum\tfamily\tgenus\turi\tchunk_number", *rows]) + "\n"
    )


def test_a_published_layout_is_said_and_read(bioclip: Bioclip) -> None:
    bioscan()
    outcome = bioclip("catalog", "build", "bioscan", "--output", "c.parquet")
    assert outcome.code == 0, outcome.err
    assert (
        "bioscan: read as bioscan-1m: its columns processid, image_file and uri are those of BIOSCAN-1M" in outcome.out
    )
    assert "uri → BIN of BOLD, the id of the taxon; it is not an image" in outcome.out
    assert "bioscan: 4 rows, groups by occurrenceID" in outcome.out
    catalog = Catalog.open("c.parquet")
    assert [taxon.lineage[:5] for taxon in catalog.taxa] == [("Animalia", "Arthropoda", "", "", "Sciaridae")]
    assert all(catalog.path(row).is_file() for row in range(4))


def test_the_metadata_file_alone_is_read_with_the_images_beside_it(bioclip: Bioclip) -> None:
    bioscan()
    outcome = bioclip("catalog", "build", "bioscan/metadata.tsv", "--output", "c.parquet")
    assert (outcome.code, len(Catalog.open("c.parquet"))) == (0, 4), outcome.err


def test_an_option_of_the_layout_is_given_and_an_unknown_one_is_refused(bioclip: Bioclip) -> None:
    bioscan()
    pictures(*(f"bioscan/large/part1/{n}.jpg" for n in range(4)))
    outcome = bioclip("catalog", "build", "bioscan", "--output", "c.parquet")
    assert outcome.code != 0
    assert "(images, large); state one of them as images: FOLDER" in outcome.err
    outcome = bioclip("catalog", "build", "bioscan", "--layout-option", "images=large", "--output", "c.parquet")
    assert outcome.code == 0, outcome.err
    outcome = bioclip("catalog", "build", "bioscan", "--layout-option", "image=large", "--output", "d.parquet")
    assert "layout bioscan-1m has no option 'image'" in outcome.err
    assert "did you mean images?" in outcome.err
    outcome = bioclip("catalog", "build", "bioscan", "--layout-option", "large", "--output", "d.parquet")
    assert "a name and a value with = between them are needed" in outcome.err


def test_labels_that_are_captions_become_words_or_names_only_when_the_user_says_so(bioclip: Bioclip) -> None:
    pictures(*(f"plantdoc/{split}/Tomato leaf late blight/{n}.jpg" for split in ("train", "test") for n in range(2)))
    outcome = bioclip("catalog", "build", "plantdoc", "--output", "c.parquet")
    assert outcome.code != 0
    assert (
        "labels such as 'Tomato leaf late blight' are captions, not taxa: --plain-labels takes them as words"
        in outcome.err
    )
    assert not Path("c.parquet").exists()
    outcome = bioclip("catalog", "build", "plantdoc", "--plain-labels", "--output", "c.parquet")
    assert outcome.code == 0, outcome.err
    assert [taxon.common_name or taxon.name for taxon in Catalog.open("c.parquet").taxa] == ["Tomato leaf late blight"]


def test_boxes_events_and_skipped_annotations_of_a_camera_trap_set(bioclip: Bioclip) -> None:
    pictures("trap/a.jpg", "trap/b.jpg", "trap/c.jpg")
    entries = [
        {"id": n, "file_name": f"{n}.jpg", "location": "x", "seq_id": f"s{n}", "width": 32, "height": 32} for n in "abc"
    ]
    annotations = [
        {"id": 1, "image_id": "a", "category_id": 1, "bbox": [8, 8, 16, 16]}, {"id": 2, "image_id": "b", "category_id": 1},
        {"id": 3, "image_id": "c", "category_id": 0},
    ]  # fmt: skip
    categories = [{"id": 0, "name": "empty"}, {"id": 1, "name": "Vulpes vulpes"}]
    Path("trap/set.json").write_text(
        json.dumps({"images": entries, "annotations": annotations, "categories": categories})
    )
    outcome = bioclip("catalog", "build", "trap", "--output", "c.parquet")
    assert outcome.code == 0, outcome.err
    assert "trap: annotations say that there is no animal or plant: 1 (the first: c.jpg: empty)" in outcome.out
    catalog = Catalog.open("c.parquet")
    assert [catalog.box(row) for row in range(2)] == [(0.25, 0.25, 0.5, 0.5), None]
    assert [catalog.group(row) for row in range(2)] == ["x/sa", "x/sb"]


def test_a_column_of_a_rank_with_binomials_is_refused_with_the_options_that_decide(bioclip: Bioclip) -> None:
    pictures(*(f"{n}.jpg" for n in range(4)))
    names = ("Sphyrna tiburo", "Panthera uncia")
    rows = [f"{n}.jpg,{names[n % 2]},e{n}" for n in range(4)]
    Path("t.csv").write_text("\n".join(["image,class,eventID", *rows]) + "\n")
    outcome = bioclip("catalog", "build", "t.csv", "--output", "c.parquet")
    assert outcome.code != 0
    assert "the column class holds 'Sphyrna tiburo' and the like in 4 of 4 rows that were looked at" in outcome.err
    outcome = bioclip("catalog", "build", "t.csv", "--column", "scientificName=class", "--output", "c.parquet")
    assert outcome.code == 0, outcome.err
    assert [(taxon.genus, taxon.species) for taxon in Catalog.open("c.parquet").taxa] == [
        ("Panthera", "uncia"),
        ("Sphyrna", "tiburo"),
    ]


@pytest.mark.parametrize(
    "cells", [("Mammalia", "Aves"), ("incertae sedis", "Aves"), ("not_classified", "Mammalia"), ("Mammalia", "")]
)
def test_plausible_ranks_are_read_as_they_are(bioclip: Bioclip, cells: tuple[str, str]) -> None:
    pictures(*(f"{n}.jpg" for n in range(4)))
    rows = [f"{n}.jpg,{cells[n % 2]},Vulpes,e{n}" for n in range(4)]
    Path("t.csv").write_text("\n".join(["image,class,genus,eventID", *rows]) + "\n")
    assert bioclip("catalog", "build", "t.csv", "--output", "c.parquet").code == 0


def test_a_collection_that_a_catalog_cannot_read_says_what_does(bioclip: Bioclip) -> None:
    write_treeoflife(Path("shards"), each=1, shards=1)
    outcome = bioclip("catalog", "build", "shards", "--output", "c.parquet")
    assert outcome.code != 0
    assert published.IN_HOLDER in outcome.err
    cells = {"uuid": ["x"], "identifier": ["http://x"], "image": [b"1"]}
    Path("fetched").mkdir()
    parquet.write_table(pa.table(cells), "fetched/successes.parquet")
    outcome = bioclip("catalog", "build", "fetched", "--output", "c.parquet")
    assert outcome.code != 0
    assert "states neither names nor captions: join its images with a table of names" in outcome.err


def test_layout_none_reads_a_published_folder_as_a_tree_of_one_s_own(bioclip: Bioclip) -> None:
    pictures(*(f"plantdoc/train/Tomato leaf late blight/{n}.jpg" for n in range(2)))
    outcome = bioclip("catalog", "build", "plantdoc", "--layout", "none", "--output", "c.parquet")
    assert "read as" not in outcome.out
    outcome = bioclip("catalog", "build", "plantdoc", "--layout", "plantdocs", "--output", "d.parquet")
    assert "--layout plantdocs is not known; known are inat21, " in outcome.err
    assert "did you mean plantdoc?" in outcome.err
