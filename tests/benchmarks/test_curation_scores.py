"""The scores of a curation, on truths and catalogs written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmarks.curation import drops, duplicates, labels, leaks
from benchmarks.curation.__main__ import main
from benchmarks.curation.joined import RANKS, Joined, join
from benchmarks.curation.score import page, scores, targets
from bioclip_training.biosphere.publishing.truth import LEAKS, RECORDS

LINEAGE = ("Animalia", "Fictozoa", "Fictia", "Fictiformes", "Fictidae", "Fictus")
OTHER = ("Plantae", "Fictophyta", "Fictopsida", "Fictales", "Fictaceae", "Fictus")


class World:
    """A truth and a catalog that grow record by record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth: list[dict[str, Any]] = []
        self.catalog: list[dict[str, Any]] = []
        self.leaks: list[dict[str, str]] = []

    def add(self, epithet: str = "albus", *, said: str | None = "albus", **more: Any) -> World:
        """Add a record: its true epithet, and the catalog's; None: it is not in the catalog."""
        number = len(self.truth)
        lineage = more.get("lineage", LINEAGE)
        kinds = more.get("kinds", [])
        self.truth.append({
            "source": "eol", "uri": f"{number}.jpg", "identifier": str(number), **dict(zip(RANKS, (*lineage, epithet), strict=True)),
            "scientific_name": f"Fictus {epithet}", "common_name": "", "kinds": kinds, "recoverable": more.get("recoverable", True),
            "leaves": "species", "state": more.get("state", "whole"), "picture": number, "original": more.get("original", number),
            "sha256": more.get("sha256", f"s{number}"), "written": f"written {number}",
        })  # fmt: skip
        if said is not None:
            given = more.get("said_lineage", lineage)
            self.catalog.append({
                "key": f"k{number}", "source": "eol", "uri": f"{number}.jpg", **dict(zip(RANKS, (*given, said), strict=True)),
                "common": "", "verbatim_name": "", "outcome": "", "exact_group": more.get("exact", f"k{number}"),
                "near_group": more.get("near", f"k{number}"), "duplicate_of": more.get("duplicate_of", ""),
                "split": "" if more.get("excluded") else "train", "excluded": more.get("excluded", ""), "leaks": more.get("leaks", []),
                "event_id": "",
            })  # fmt: skip
        for name, kind in more.get("planted", []):
            self.leaks.append(
                {"source": "eol", "uri": f"{number}.jpg", "evaluation_set": name, "kind": kind, "item": ""}
            )
        return self

    def write(self) -> tuple[Path, Path]:
        rendered, curated = self.folder / "rendered", self.folder / "curated"
        (rendered / "truth").mkdir(parents=True)
        (curated / "catalog").mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(self.truth, schema=RECORDS), rendered / "truth" / "records.parquet")
        parquet.write_table(pa.Table.from_pylist(self.leaks, schema=LEAKS), rendered / "truth" / "leaks.parquet")
        table = pa.Table.from_pylist(self.catalog).cast(
            pa.schema([(name, pa.list_(pa.string()) if name == "leaks" else pa.string()) for name in self.catalog[0]])
        )
        for part in range(2):  # a catalog is a folder of parts
            parquet.write_table(
                table.slice(part * 2, 2 if part == 0 else None), curated / "catalog" / f"part-{part}.parquet"
            )
        return rendered, curated

    def joined(self) -> Joined:
        return join(*self.write())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_precision_counts_given_labels_and_recall_all_recoverable_records(world: World) -> None:
    world.add().add(said="").add(said="niger").add(said=None)
    world.add(recoverable=False, said="niger", kinds=["placeholder"])
    found = labels.recoverable(world.joined())
    assert (found.records, found.given, found.right) == (4, 2, 1)
    assert found.precision == 0.5
    assert found.recall == 0.25
    assert "'written 1' → 'genus Fictus', true 'Animalia Fictus albus' (eol/1.jpg)" in found.examples
    assert any("not in the catalog" in example for example in found.examples)


def test_a_right_species_with_a_wrong_family_is_right_and_its_lineage_is_not(world: World) -> None:
    family = (*LINEAGE[:4], "Fictaridae", "Fictus")
    found = labels.recoverable(world.add().add(said_lineage=family).joined())
    assert (found.right, found.lineages) == (2, 1)


def test_common_names_are_compared_with_those_of_the_taxonomy(world: World) -> None:
    world.add().add().add()
    world.truth[0]["common_name"] = world.catalog[0]["common"] = "white fict"
    world.truth[1]["common_name"], world.catalog[2]["common"] = "pale fict", "an invented one"
    assert labels.recoverable(world.joined()).common == 1


def test_the_same_binomial_in_another_kingdom_is_wrong(world: World) -> None:
    world.add(kinds=["hemihomonym"]).add(kinds=["hemihomonym"], lineage=OTHER, said_lineage=LINEAGE)
    found = labels.hemihomonyms(world.joined())
    assert (found.records, found.right) == (2, 1)


def test_the_mark_of_a_hybrid_is_no_difference(world: World) -> None:
    assert labels.recoverable(world.add(said="× albus").joined()).right == 1


def test_labels_are_counted_per_kind_and_unrecoverable_ones_apart(world: World) -> None:
    world.add(kinds=["synonym", "spaces"]).add(kinds=["synonym"], said="niger").add()
    world.add(kinds=["placeholder"], recoverable=False, said="niger")
    joined = world.joined()
    assert {name: (one.records, one.right) for name, one in labels.by_kind(joined).items()} == {
        "no dirt": (1, 1),
        "spaces": (1, 1),
        "synonym": (2, 1),
    }
    assert {name: (one.given, one.right) for name, one in labels.unrecoverable(joined).items()} == {
        "placeholder": (1, 0)
    }


def test_pairs_of_equal_bytes_are_found_missed_and_falsely_found(world: World) -> None:
    for exact in ("a", "a", "c"):  # three equal files, two of them found
        world.add(sha256="same", original=0, exact=exact, near="a")
    world.add(exact="a", near="a")
    joined = world.joined()
    exact_pairs = duplicates.exact(joined)
    assert (exact_pairs.planted, exact_pairs.found, exact_pairs.false) == (3, 1, 2)
    near = duplicates.near(joined)
    assert (near.planted, near.found, near.false) == (3, 3, 3)
    assert near.precision == 0.5


def test_near_pairs_are_counted_per_kind_and_equal_ones_are_not_among_them(world: World) -> None:
    world.add(original=0, near="a").add(original=0, near="a", kinds=["near_cropped"])
    world.add(original=0, near="b", kinds=["near_brighter"]).add(original=0, near="a", sha256="s0")
    found = duplicates.near_by_kind(world.joined())
    assert {name: (one.planted, one.found) for name, one in found.items()} == {
        "near_brighter": (3, 0),
        "near_cropped": (3, 2),
    }


def test_unreadable_records_are_no_duplicates(world: World) -> None:
    world.add(sha256="same", original=0).add(sha256="same", original=0, state="short")
    assert duplicates.exact(world.joined()).planted == 0


def test_a_record_that_gives_way_to_another_picture_is_a_false_drop_and_copies_in_splits_are_left(world: World) -> None:
    world.add(original=0).add(original=0, duplicate_of="k0", excluded="duplicate of k0")
    world.add(duplicate_of="k0", excluded="duplicate of k0").add(original=3).add(original=3)
    joined = world.joined()
    assert [one.true["uri"] for one in duplicates.false_drops(joined)] == ["2.jpg"]
    assert duplicates.left(joined) == 1
    assert {name: (one.records, one.agreed) for name, one in drops.drops(joined).items()} == {"duplicate of": (2, 1)}


def test_a_planted_leak_is_left_if_its_record_is_in_a_split(world: World) -> None:
    world.add(planted=[("rare", "near")], leaks=["rare: image of x.jpg"], excluded="leaks into rare by image")
    world.add(planted=[("rare", "taxon")]).add(leaks=["rare: near of y.jpg"], excluded="leaks into rare by near")
    joined = world.joined()
    found = leaks.leaks(joined)
    assert (found["rare: near"].planted, found["rare: near"].found, found["rare: near"].left) == (1, 1, 0)
    assert (found["rare: taxon"].planted, found["rare: taxon"].found, found["rare: taxon"].left) == (1, 0, 1)
    assert found["rare: near"].false == 1
    assert leaks.left(joined) == 1


def test_a_leak_of_a_taxon_that_no_name_tells_is_hidden_and_one_by_image_is_not(world: World) -> None:
    world.add(said="", recoverable=False, planted=[("rare", "taxon")])
    assert leaks.left(world.joined()) == 0


def test_an_unrecoverable_name_does_not_excuse_a_leak_by_image(world: World) -> None:
    world.add(said="", recoverable=False, planted=[("rare", "image")])
    assert leaks.left(world.joined()) == 1


def test_taxa_of_a_set_of_seen_species_are_reported_and_no_mistake(world: World) -> None:
    world.add(planted=[("rare", "taxon")], leaks=["rare: taxon of Fictus albus"]).add(
        leaks=["holdout: taxon of Fictus albus"]
    )
    assert "holdout: taxon" not in leaks.leaks(world.joined())


def test_reasons_of_drops_are_compared_with_the_truth(world: World) -> None:
    world.add(said="", recoverable=False, excluded="without a label: several names")
    world.add(said="", excluded="without a label: not listed")
    world.add(state="short", recoverable=False, excluded="without a readable image")
    world.add(kinds=["conflicting_labels"], recoverable=False)
    joined = world.joined()
    found = drops.drops(joined)
    assert (found["without a label"].records, found["without a label"].agreed) == (2, 1)
    assert (found["without a readable image"].records, found["without a readable image"].agreed) == (1, 1)
    assert drops.kept_in_spite(joined)["conflicting_labels"] == (1, 1)
    assert drops.kept_in_spite(joined)["unreadable"] == (1, 0)


def test_records_that_only_one_side_has_are_counted(world: World) -> None:
    world.add().add(said=None, state="unlisted", recoverable=False)
    world.catalog.append({**world.catalog[0], "key": "kx", "uri": "stray.jpg"})
    found = scores(world.joined())
    assert found["records"] == {
        "rendered": 2, "in the catalog": 1, "in a split": 1, "without a row by design": 1, "not in the truth": 1,
    }  # fmt: skip


def test_a_source_that_was_not_curated_is_named_and_not_scored(world: World) -> None:
    world.add().add(said=None, planted=[("rare", "image")])
    world.truth[1]["source"] = world.leaks[0]["source"] = "gbif"
    found = scores(world.joined())
    assert found["not_curated"] == ["gbif"]
    assert found["records"]["rendered"] == 1
    assert found["leaks"] == {}
    assert "not scored: gbif" in page(found)


def test_targets_are_met_by_a_faultless_catalog_and_missed_by_one_label_in_ninety(world: World) -> None:
    for _ in range(90):
        world.add()
    assert all(one.is_met for one in targets(world.joined()))
    other = World(world.folder / "other").add(said="niger")
    for _ in range(89):
        other.add()
    assert [one.name for one in targets(other.joined()) if not one.is_met] == ["label precision", "label recall"]


def test_the_command_prints_a_page_writes_json_and_fails_if_a_target_is_missed(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rendered, curated = world.add().add(said="niger").write()
    assert main([str(rendered), str(curated), "--json", str(tmp_path / "scores.json")]) == 1
    assert "| label precision | 0.5000 | ≥ 0.99 | NO |" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text("utf-8"))["labels"]["right"] == 1
    main([str(rendered), str(curated)])
    assert "First faults" in capsys.readouterr().out
    main([str(rendered), str(curated), "--no-faults"])
    assert "First faults" not in capsys.readouterr().out
    assert main([str(rendered), str(tmp_path)]) == 2
    assert "holds no catalog" in capsys.readouterr().err
