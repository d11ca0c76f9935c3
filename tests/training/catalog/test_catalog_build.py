"""Building a catalog: kept rows, skipped rows with reasons, and the split of each row."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from catalog_samples import LYNX, MOTH, build, listed, picture, save, source_of

from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.overview import overview
from bioclip_training.catalog.rows import Catalog, hashed_share


def species(number: int) -> dict[str, str]:
    return {"family": "Fictidae", "genus": "Lynx", "specificEpithet": f"fictus{'abcdefghijklmnopqrst'[number]}"}


def test_a_row_keeps_the_facts_of_its_source(tmp_path: Path) -> None:
    save(tmp_path / "images", 1)
    row = {
        "image": "images/1.png", "box": (0.25, 0.0, 0.5, 1.0), **LYNX, "verbatimScientificName": "Lynx fictus Rehder",
        "vernacularName": "invented lynx", "occurrenceID": "lynx:7", "license": "CC0", "split": "Validation",
    }  # fmt: skip
    catalog, built = build(tmp_path, source_of(tmp_path, [row]), group_by="occurrenceID")
    (stored,) = catalog.table.to_pylist()
    assert catalog.taxon(0) == Taxon("Animalia", "", "", "", "Fictidae", "Lynx", "fictus", "invented lynx")
    assert {name: stored[name] for name in ("uri", "verbatim_name", "source", "source_id", "licence", "group", "split")} == {
        "uri": "images/1.png", "verbatim_name": "Lynx fictus Rehder", "source": "table.csv", "source_id": "lynx:7",
        "licence": "CC0", "group": "lynx:7", "split": "val",
    }  # fmt: skip
    assert catalog.box(0) == (0.25, 0.0, 0.5, 1.0)
    assert stored["changes"] == ["authority 'Rehder' removed"]
    assert (len(stored["sha256"]), len(stored["phash"])) == (64, 36)
    assert (built.removed, built.unresolved, built.duplicates) == (None, None, None)


def test_uris_lead_from_the_catalogs_folder_to_the_images(tmp_path: Path) -> None:
    save(tmp_path / "museum" / "images", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "museum", target_is_directory=True)
    catalog, _ = build(tmp_path / "out", source_of(tmp_path / "link", [{"image": "images/1.png", **LYNX}]))
    assert catalog.column("uri") == ["../museum/images/1.png"]
    assert catalog.path(0).samefile(tmp_path / "museum" / "images" / "1.png")


@pytest.mark.parametrize("old", ["museum", "{here}/museum"])
def test_the_images_of_a_moved_folder_are_found_under_its_new_name(tmp_path: Path, old: str) -> None:
    save(tmp_path / "museum", 1)
    _, built = build(tmp_path, source_of(tmp_path / "museum", [{"image": "1.png", **LYNX}]))
    (tmp_path / "museum").rename(tmp_path / "archive")
    file = built.catalog.rename(tmp_path / "catalog.parquet")
    assert not Catalog.open(file).path(0).exists()
    moved = Catalog.open(file, replace_prefix=[f"{old.format(here=tmp_path)}={tmp_path / 'archive'}"])
    assert moved.path(0) == tmp_path / "archive" / "1.png"
    assert moved.column("uri") == ["museum/1.png"]


@pytest.mark.parametrize("name", ["100% wool.png", "x%E9.png", "x%25.png", "caf\udce9.png"])
def test_a_strange_file_name_is_found_again(tmp_path: Path, name: str) -> None:
    picture(1).save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(tmp_path / name)
    catalog, _ = build(tmp_path, source_of(tmp_path, [{"image": name, **LYNX}]))
    assert catalog.path(0) == tmp_path / name


def test_unusable_entries_are_skipped_with_their_reason(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image at all")
    rows = [
        {"image": "1.png", **LYNX},
        {"image": "2.png", "scientificName": "unknown"},
        {"image": "gone.png", **LYNX},
        {"image": "empty.png", **LYNX},
        {"image": "text.png", **LYNX},
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, rows))
    assert catalog.column("uri") == ["1.png"]
    assert [(row["uri"], row["kind"]) for row in listed(built.removed)] == [
        ("2.png", "no name"), ("gone.png", "missing image"), ("empty.png", "missing image"), ("text.png", "broken image"),
    ]  # fmt: skip
    assert "unknown" in listed(built.removed)[0]["reason"]
    assert built.facts["left_out"] == {"broken image": 1, "missing image": 2, "no name": 1}
    assert (built.facts["rows_read"], built.facts["kept"]) == (5, 1)


def test_a_collection_of_which_nothing_can_be_used_is_refused_with_the_reasons(tmp_path: Path) -> None:
    rows = [{"image": "gone.png", **LYNX}, {"image": "gone.png"}]
    with pytest.raises(SourceError, match=r"none of 2 rows can be used \(1 missing image, 1 no name\).*does not exist"):
        build(tmp_path, source_of(tmp_path, rows))


def test_labels_at_mixed_ranks_stand_side_by_side(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    rows = [{"image": "1.png", **LYNX}, {"image": "2.png", "kingdom": "Animalia", "family": "Fictidae"}]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), val=0.0)
    assert overview(catalog).taxa_by_rank == {"family": 1, "species": 1}


def test_groups_stay_on_one_side_and_the_draw_is_that_of_their_hash(tmp_path: Path) -> None:
    save(tmp_path, *range(40))
    rows = [{"image": f"{seed}.png", **LYNX, "eventID": f"night {seed // 2}"} for seed in range(40)]
    catalog, built = build(tmp_path, source_of(tmp_path, rows), group_by=None, val=0.3)
    expected = {f"night {n}": "val" if hashed_share(f"val night {n}") < 0.3 else "train" for n in range(20)}
    assert dict(zip(catalog.column("group"), catalog.column("split"), strict=True)) == expected
    assert len(set(expected.values())) == 2
    assert built.facts["sources"][0]["group_by"] == "eventID"


def test_a_taxon_of_one_group_stays_in_train_and_is_reported(tmp_path: Path) -> None:
    save(tmp_path, *range(12))
    rows = [{"image": f"{seed}.png", **species(seed)} for seed in range(12)]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), val=0.9)
    assert catalog.column("split") == ["train"] * 12
    assert len(overview(catalog).single) == 12


def test_a_table_that_says_nothing_of_groups_is_refused_unless_asked_for(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    rows = [{"image": "1.png", **LYNX}, {"image": "2.png", **MOTH}]
    with pytest.raises(
        UsageError, match=r"which images belong together.*--group-by COLUMN \(there are kingdom, family"
    ):
        build(tmp_path, source_of(tmp_path, rows), group_by=None)
    for allowed in ({"group_by": "image"}, {"group_by": None, "val": 0.0}):
        assert len(build(tmp_path, source_of(tmp_path, rows), **allowed)[0]) == 2
    own = [{**row, "split": "train"} for row in rows]
    assert len(build(tmp_path, source_of(tmp_path, own), group_by=None)[0]) == 2


def test_a_row_without_an_event_is_grouped_by_its_other_columns(tmp_path: Path) -> None:
    save(tmp_path, *range(5))
    said = (
        {"eventID": "e", "occurrenceID": "o1"},
        {"eventID": "e"},
        {"occurrenceID": "o2"},
        {"occurrenceID": "o2"},
        {},
    )
    source = source_of(tmp_path, [{"image": f"{seed}.png", **LYNX, **cells} for seed, cells in enumerate(said)])
    catalog, built = build(tmp_path, source, group_by=None)
    groups = catalog.column("group")
    assert groups[:4] == ["e", "e", "o2", "o2"]
    assert groups[4] == f"image {catalog.column('sha256')[4][:16]}"
    assert built.facts["sources"][0]["group_by"] == "eventID or occurrenceID"
    assert built.facts["sources"][0]["rows_without_group"] == 1
    one, _ = build(tmp_path, source, group_by="eventID")
    assert len(set(one.column("group"))) == 4


def test_a_column_that_no_source_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(UsageError, match=r"--group-by eventId.*there are family, genus.*image .*folder"):
        build(tmp_path, source_of(tmp_path, [{"image": "1.png", **species(0)}]), group_by="eventId")


def test_a_rows_own_split_is_honoured_and_the_others_follow_their_group(tmp_path: Path) -> None:
    save(tmp_path, *range(4))
    rows = [
        {"image": "0.png", **LYNX, "eventID": "a", "split": "test"},
        {"image": "1.png", **LYNX, "eventID": "a"},
        {"image": "2.png", **LYNX, "eventID": "b", "split": "train_small"},
        {"image": "3.png", **LYNX, "eventID": "b", "split": "TRAIN"},
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, rows), group_by="eventID")
    assert catalog.column("split") == ["test", "test", "train_small", "train"]
    assert (built.facts["drawn"], built.facts["groups_on_both_sides"]) == (1, 0)


def test_held_out_species_are_in_no_training_group(tmp_path: Path) -> None:
    save(tmp_path, *range(30))
    rows = [{"image": f"{seed}.png", **species(seed % 10), "eventID": f"e{seed}"} for seed in range(30)]
    rows[1]["eventID"] = "e0"  # a photo of another species from the same event
    # a family that may contain any of them
    rows[5] = {"image": "5.png", "family": "Fictidae", "genus": "Lynx", "eventID": "e5"}
    name = "Lynx fictusa"
    catalog, built = build(tmp_path, source_of(tmp_path, rows), group_by=None, val=0.0, holdout_names=(name,))
    split_of = dict(zip(catalog.column("uri"), catalog.column("split"), strict=True))
    assert {uri for uri, split in split_of.items() if split == "unseen"} == {"0.png", "10.png", "20.png"}
    assert split_of["1.png"] == "val"
    assert (built.facts["held_species"], built.facts["moved_to_val"]) == ([name], 1)
    assert built.facts["trained_above_held_species"] == 1


def test_near_duplicates_need_a_library_that_is_asked_for_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "imagehash", None)  # as if it were not installed
    with pytest.raises(BioclipError, match=r"pip install 'bioclip-plugin\[train\]'.*--near-distance 0"):
        build(tmp_path, source_of(tmp_path, [{"image": "1.png", **LYNX}]))
    assert len(build(tmp_path, source_of(tmp_path, [{"image": "1.png", **LYNX}]), near_distance=0)[0]) == 1


def test_a_share_of_the_species_is_held_out_by_the_hash_of_their_lineage(tmp_path: Path) -> None:
    save(tmp_path, *range(20))
    rows = [{"image": f"{seed}.png", **species(seed)} for seed in range(20)]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), holdout_share=0.3)
    expected = [
        "unseen" if hashed_share(f"unseen ||||Fictidae|Lynx|{row['specificEpithet']}") < 0.3 else "train"
        for row in rows
    ]
    assert catalog.column("split") == expected
    assert len(set(expected)) == 2


def test_holding_out_an_absent_taxon_or_all_taxa_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    source = source_of(tmp_path, [{"image": "1.png", **LYNX}])
    with pytest.raises(UsageError, match=r"1 of 1 names are not a species.*lynx inventus"):
        build(tmp_path, source, holdout_names=("Lynx inventus",))
    with pytest.raises(UsageError, match="all 1 species would be held out"):
        build(tmp_path, source, holdout_names=("Fictidae",))


def test_duplicates_across_splits_leave_training_and_the_held_out_row_stays(tmp_path: Path) -> None:
    save(tmp_path, *range(4))
    picture(1).save(tmp_path / "equal.png")
    picture(2).resize((48, 40)).save(tmp_path / "near.png")
    picture(3).save(tmp_path / "twice.png")
    rows = [
        {"image": "0.png", **LYNX, "split": "train"},
        {"image": "1.png", **LYNX, "split": "train"},
        {"image": "equal.png", **LYNX, "split": "val"},
        {"image": "near.png", **LYNX, "split": "unseen"},
        {"image": "2.png", **LYNX, "split": "train"},
        {"image": "3.png", **LYNX, "split": "train"},
        {"image": "twice.png", **MOTH, "split": "train"},
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, rows))
    assert catalog.column("uri") == ["0.png", "equal.png", "near.png"]
    found = built.facts["duplicates"]
    assert (found["equal_groups"], found["near_pairs"], found["removed"]) == (2, 1, 2)
    assert built.facts["merging"]["undecided_images"] == 1
    assert [(row["uri"], row["kind"], row["split"]) for row in listed(built.removed)] == [
        ("1.png", "duplicate across splits", "train"), ("3.png", "undecided", "train"), ("twice.png", "undecided", "train"),
        ("2.png", "duplicate across splits", "train"),
    ]  # fmt: skip
    assert listed(built.removed)[0]["reason"] == "the same image as equal.png of table.csv, with the same label"
    assert listed(built.removed)[3]["reason"] == "within 2 bits of near.png, which is in 'unseen'"
    assert [(row["uri"], row["other_uri"], row["fate"]) for row in listed(built.duplicates)] == [
        ("1.png", "equal.png", "first removed"), ("3.png", "twice.png", "both removed"), ("near.png", "2.png", "other removed"),
    ]  # fmt: skip
    kept, told = build(tmp_path, source_of(tmp_path, rows), keep_duplicates=True)
    assert (len(kept), told.facts["duplicates"]["equal_pairs_across"]) == (5, 1)
    exact, _ = build(tmp_path, source_of(tmp_path, rows), near_distance=0)
    assert (len(exact), set(exact.column("phash"))) == (4, {""})


def test_duplicates_are_one_group_for_the_split(tmp_path: Path) -> None:
    save(tmp_path, *range(30))
    rows = [{"image": f"{seed}.png", **LYNX} for seed in range(30)]
    for seed in range(30):
        picture(seed).resize((64, 60)).save(tmp_path / f"copy {seed}.png")
        rows.append({"image": f"copy {seed}.png", **LYNX})
    catalog, built = build(tmp_path, source_of(tmp_path, rows), val=0.4)
    splits, groups = catalog.column("split"), catalog.column("group")
    assert groups[:30] == groups[30:]
    assert splits[:30] == splits[30:]
    assert set(splits) == {"train", "val"}
    assert (built.facts["duplicates"]["near_pairs"], built.facts["duplicates"]["removed"]) == (30, 0)


def test_two_regions_of_one_image_are_no_duplicates(tmp_path: Path) -> None:
    save(tmp_path, 1)
    boxes = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0))
    rows = [{"image": "1.png", **taxon, "box": box} for taxon, box in zip((LYNX, MOTH), boxes, strict=True)]
    catalog, built = build(tmp_path, source_of(tmp_path, rows))
    assert [catalog.box(row) for row in (0, 1)] == list(boxes)
    assert [catalog.taxon(row).genus for row in (0, 1)] == ["Lynx", "Invenia"]
    assert built.facts["duplicates"]["equal_groups"] == 0
    assert len(set(catalog.column("group"))) == 1


def test_the_same_collection_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    made = []
    for place in ("here", "there"):
        save(tmp_path / place, *range(6))
        rows = [{"image": f"{seed}.png", **species(seed % 2)} for seed in range(6)]
        _, built = build(tmp_path / place, source_of(tmp_path / place, rows), val=0.4, workers=1 + (place == "there"))
        made.append(built.catalog.read_bytes())
    assert made[0] == made[1]


def test_images_of_one_camera_taken_within_minutes_are_one_group(tmp_path: Path) -> None:
    save(tmp_path, *range(4))
    taken = {"0.png": 0.0, "1.png": 200.0, "2.png": 400.0, "3.png": 5000.0}
    by_content = {(tmp_path / name).read_bytes(): at for name, at in taken.items()}
    plain = source_of(tmp_path, [{"image": name, **LYNX} for name in taken], kind="folder")
    source = type(plain)(plain.name, "folder", plain.items, tmp_path, lambda data: ("camera 1", by_content[data]))
    catalog, built = build(tmp_path, source, group_by=None)
    groups = catalog.column("group")
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert built.facts["rows_in_bursts"] == 4


def test_the_folder_that_a_camera_begins_within_a_burst_is_no_boundary(tmp_path: Path) -> None:
    save(tmp_path / "DCIM" / "100EK113", 0)
    save(tmp_path / "DCIM" / "101EK113", 1)
    plain = source_of(tmp_path, [{"image": f"DCIM/10{n}EK113/{n}.png", **LYNX} for n in (0, 1)], kind="folder")
    source = type(plain)(plain.name, "folder", plain.items, tmp_path, lambda data: ("camera 1", 0.0))
    for group_by in (None, "folder"):
        catalog, _ = build(tmp_path, source, group_by=group_by)
        assert len(set(catalog.column("group"))) == 1


def test_the_files_of_a_folder_can_be_a_group(tmp_path: Path) -> None:
    save(tmp_path / "tray 1", 1, 2)
    save(tmp_path / "tray 2", 3)
    rows = [{"image": name, **LYNX} for name in ("tray 1/1.png", "tray 1/2.png", "tray 2/3.png")]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), group_by="folder")
    assert catalog.column("group") == ["folder tray 1", "folder tray 1", "folder tray 2"]


@dataclass(frozen=True)
class Said:
    taxon: Taxon | None
    outcome: str
    reason: str
    taxon_id: str = ""
    ambiguous: bool = False


class OneSynonym:
    """Taxonomy that knows only Lynx fictus, as a synonym."""

    def resolve(self, taxon: Taxon, verbatim: str) -> Said:
        if taxon.scientific_name == "Lynx fictus":
            accepted = Taxon("Animalia", "Chordata", "", "", "Fictidae", "Lynx", "verus")
            return Said(accepted, "synonym", "Lynx fictus is a synonym of Lynx verus", "made-up:7")
        return Said(None, "none", f"{taxon.scientific_name} is not listed")


def test_names_are_resolved_and_unresolved_ones_are_listed(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    rows = [{"image": f"{seed}.png", **taxon} for seed, taxon in ((1, LYNX), (2, MOTH), (3, MOTH))]
    catalog, built = build(tmp_path, source_of(tmp_path, rows), resolver=OneSynonym())
    assert catalog.taxon(0).lineage == ("Animalia", "Chordata", "", "", "Fictidae", "Lynx", "verus")
    assert catalog.table.column("changes").to_pylist()[0] == [
        "Lynx fictus is a synonym of Lynx verus", "filled in: phylum Chordata",
    ]  # fmt: skip
    assert catalog.column("taxon_id") == ["made-up:7", "", ""]
    assert catalog.taxon(1).scientific_name == "Invenia alba"
    assert [(row["name"], row["outcome"], row["rows"]) for row in listed(built.unresolved)] == [
        ("Invenia alba", "none", "2")
    ]
    assert built.facts["resolved"] == {"none": 2, "synonym": 1}
    only, told = build(tmp_path, source_of(tmp_path, rows), resolver=OneSynonym(), only_resolved=True)
    assert (len(only), told.facts["left_out"]) == (1, {"not resolved": 2})


def test_the_columns_of_a_large_catalog_are_counted_as_its_rows_are(tmp_path: Path) -> None:
    save(tmp_path, *range(5))
    rows = [
        {"image": "0.png", **MOTH},
        {"image": "1.png", **LYNX},
        {"image": "2.png", **LYNX, "vernacularName": "invented lynx"},
        {"image": "3.png", **LYNX, "vernacularName": "other lynx"},
        {"image": "4.png", "kingdom": "Animalia"},
    ]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows))
    assert [taxon.scientific_name for taxon in catalog.taxa] == ["Animalia", "Lynx fictus", "Invenia alba"]
    assert catalog.taxa[1].common_name == "invented lynx"
    assert catalog.taxon_of_N.tolist() == [2, 1, 1, 1, 0]
    assert [catalog.taxon(row).common_name for row in range(5)] == ["", "", "invented lynx", "invented lynx", ""]


def test_dev_is_cut_out_of_train_and_never_out_of_a_group(tmp_path: Path) -> None:
    save(tmp_path, *range(40))
    rows = [{"image": f"{seed}.png", **LYNX, "eventID": f"e{seed // 2}", "split": "train"} for seed in range(40)]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), group_by=None)
    train, dev = catalog.rows_of("train"), catalog.rows_of("dev")
    groups = np.array(catalog.column("group"))
    assert sorted([*train, *dev]) == list(range(40))
    assert not set(groups[train]) & set(groups[dev])
    assert set(groups[dev]) == {f"e{n}" for n in range(20) if hashed_share(f"dev e{n}") < 0.1}
    assert len(dev) > 0


def test_a_table_that_is_not_a_catalog_is_refused_with_its_missing_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"uri": ["a.jpg"], "genus": ["Lynx"]}), tmp_path / "plain.parquet")
    with pytest.raises(SourceError, match=r"is a table but not a catalog: it lacks kingdom.*catalog build"):
        Catalog.open(tmp_path / "plain.parquet")
    with pytest.raises(SourceError, match=r"gone.parquet does not exist"):
        Catalog.open(tmp_path / "gone.parquet")


def test_an_overview_counts_rows_groups_and_taxa_of_each_split(tmp_path: Path) -> None:
    save(tmp_path, *range(6))
    rows = [{"image": f"{seed}.png", **LYNX, "eventID": f"e{seed // 2}"} for seed in range(5)]
    rows.append({"image": "5.png", **MOTH, "eventID": "e9"})
    for row, split in zip(rows, ("val", "val", "train", "train", "train", "unseen"), strict=True):
        row["split"] = split
    counted = overview(build(tmp_path, source_of(tmp_path, rows), group_by=None)[0])
    assert dict(counted.splits) == {"train": (3, 2, 1), "val": (2, 1, 1), "unseen": (1, 1, 1)}
    assert list(counted.splits) == ["train", "val", "unseen"]
    assert [taxon.scientific_name for taxon in counted.not_trained] == ["Invenia alba"]
    assert (counted.scattered, counted.without_common_name) == ((), 2)
    assert Counter(dict(counted.taxa[0].groups)) == Counter(train=2, val=1)
