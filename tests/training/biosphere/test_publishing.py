"""Published renderings of a biosphere: the tree, the dirt in names, the formats on disk, and the truth about them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from quick_drawings import quick_drawings

from bioclip_training.biosphere.publishing import pictures, truth
from bioclip_training.biosphere.publishing.__main__ import main
from bioclip_training.biosphere.publishing.abilities import Abilities
from bioclip_training.biosphere.publishing.dirt import load
from bioclip_training.biosphere.publishing.name_dirt import CHANGES
from bioclip_training.biosphere.publishing.near_names import NearNames
from bioclip_training.biosphere.publishing.pictures import write_pictures
from bioclip_training.biosphere.publishing.plan import Picture, Plan
from bioclip_training.biosphere.publishing.planning import make_plan
from bioclip_training.biosphere.publishing.rendering import OtherRendering, render
from bioclip_training.biosphere.publishing.statements import Writer, clean
from bioclip_training.biosphere.publishing.tree import Tree, grow

IMAGES = 150


@pytest.fixture(scope="module")
def tree() -> Tree:
    return grow(5, 150)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(5, 2500, load())


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "out"
    with quick_drawings():
        render(folder, seed=5, images=IMAGES, processes=1)
    return folder


def rows(path: Path) -> list[dict[str, object]]:
    table: list[dict[str, object]] = parquet.read_table(path).to_pylist()
    return table


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_invented_name_has_the_mark_and_no_species_has_two_names_of_another(tree: Tree) -> None:
    assert all(name.startswith("Fict") for one in tree.species for name in one.higher[1:])
    within = Counter((one.kingdom, one.genus, one.epithet) for one in tree.species)
    assert set(within.values()) == {1}
    accepted = {(one.genus, one.epithet) for one in tree.species}
    assert not accepted & {name for one in tree.species for name in (*one.synonyms, *one.shared)}


def test_some_species_have_an_epithet_one_or_two_letters_from_that_of_a_sister(tree: Tree) -> None:
    genera = defaultdict(list)
    for one in tree.species:
        genera[one.kingdom, one.genus].append(one.epithet)
    alike = [
        (one, other)
        for epithets in genera.values()
        for one, other in combinations(epithets, 2)
        if len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) <= 2
    ]
    assert len(alike) >= 3
    assert all(one[0] == other[0] for one, other in alike)


def test_genera_are_shared_by_two_kingdoms_and_one_binomial_too() -> None:
    tree = grow(1, 300)
    kingdoms = defaultdict(set)
    for one in tree.species:
        kingdoms[one.genus].add(one.kingdom)
    shared = {genus for genus, found in kingdoms.items() if len(found) == 2}
    assert len(shared) == 2
    assert {one.genus for one in tree.species if one.is_hemihomonym} == shared
    assert max(Counter(f"{one.genus} {one.epithet}" for one in tree.species).values()) == 2


@pytest.mark.parametrize("kind", ["misspelt_letter", "misspelt_swapped", "misspelt_doubled"])
def test_a_misspelling_is_nearer_to_its_species_than_to_any_other(tree: Tree, kind: str) -> None:
    writer = Writer(tree, NearNames(tree), Abilities(tree), load(), np.random.default_rng(0))
    names = defaultdict(set)
    for name, number in tree.names():
        names[name].add(number)
    made = 0
    for one in tree.species[:20]:
        said = clean(one)
        if not CHANGES[kind](writer, one, said):
            continue
        made += 1
        assert said.binomial not in names
        # One edit leaves one of the two words as it is.
        words = set(said.binomial.split())
        alike = [name for name in names if words & set(name.split())]
        assert set().union(*(names[name] for name in alike if _away(said.binomial, name) <= 1)) == {one.number}
    assert made > 15


def _away(one: str, other: str) -> int:
    """Edits between two words, exchanges of neighbours included, in the slow way of the textbook."""
    if abs(len(one) - len(other)) > 1:
        return 9
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    table[:, 0], table[0, :] = range(len(one) + 1), range(len(other) + 1)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


def test_the_shares_of_a_plan_are_those_of_the_file(plan: Plan) -> None:
    dirt = load()
    counts = Counter(kind for record in plan.records for kind in truth.kinds_of(record))
    for name in (
        "authorship",
        "synonym",
        "missing_ranks",
        "spaces",
        "copy_across_sources",
        "leak_taxon",
        "kingdom_words",
    ):
        kind = dirt.kinds[name]
        expected = kind.rate * sum(dirt.shares[layout] for layout in kind.formats) * len(plan.records)
        assert 0.5 * expected < counts[name] < 1.7 * expected, name
    lost = sum(not all(dirt.kinds[kind].is_recoverable for kind in truth.kinds_of(record)) for record in plan.records)
    assert lost / len(plan.records) < dirt.unrecoverable_at_most


def test_a_record_has_at_most_one_kind_of_each_group(plan: Plan) -> None:
    kinds = load().kinds
    for record in plan.records:
        groups = Counter(kinds[kind].group for kind in truth.kinds_of(record) if kind != "misidentified")
        assert max((groups[group] for group in ("name", "cells", "letters", "common")), default=0) <= 1, record
        assert groups["image"] + groups["row"] <= 2  # the original of a conflict may have been copied once more


def test_species_of_the_unseen_set_are_in_sources_as_leaks_only(plan: Plan) -> None:
    unseen = {one.number for one in plan.tree.species if one.is_unseen}
    shown = [record for record in plan.records if record.species in unseen]
    assert shown
    assert all(any(leak.kind == "taxon" for leak in record.leaks) for record in shown)
    assert {item.species for item in plan.items if item.evaluation_set == "rare-species"} == unseen


def test_the_truth_names_every_file_and_its_bytes(rendered: Path) -> None:
    records = rows(rendered / "truth" / "records.parquet")
    assert len(records) == IMAGES
    seen: Counter[str] = Counter()
    for record in records:
        source, uri, state = str(record["source"]), str(record["uri"]), record["state"]
        content = _content(rendered / source, uri) if state != "missing" else b""
        assert hashlib.sha256(content).hexdigest() == (record["sha256"] or hashlib.sha256(b"").hexdigest()), uri
        if state in ("whole", "unlisted") and source != "treeoflife-200m":
            Image.open(io.BytesIO(content)).load()
        seen[source] += 1
    assert set(seen) == set(load().shares)


def _content(folder: Path, uri: str) -> bytes:
    file, _, part = uri.partition("#")
    if file.endswith(".parquet"):
        data: bytes = parquet.read_table(folder / file)["image"][int(part)].as_py()
        return data
    if file.endswith(".tar.gz"):
        with tarfile.open(folder / file) as tar:
            member = tar.extractfile(part)
            assert member is not None
            return member.read()
    return (folder / file).read_bytes()


def test_each_format_has_its_files_columns_and_matching_ids(rendered: Path) -> None:
    document = json.loads((rendered / "inat21/train.json").read_text("utf-8"))
    listed = {image["id"] for image in document["images"]}
    assert {one["image_id"] for one in document["annotations"]} == listed
    assert {one["category_id"] for one in document["annotations"]} <= {one["id"] for one in document["categories"]}
    with next((rendered / "bioscan-5m").rglob("*.csv")).open(encoding="utf-8", newline="") as file:
        assert {"processid", "dna_bin", "split", "chunk", "species"} <= set(next(csv.DictReader(file)))
    media = [line.split("\t") for line in (rendered / "gbif/multimedia.txt").read_text("utf-8").splitlines()]
    ids = {line.split("\t")[0] for line in (rendered / "gbif/occurrence.txt").read_text("utf-8").splitlines()}
    assert {row[0] for row in media} <= ids
    assert {len(row) for row in media} == {6}
    catalog = parquet.read_table(rendered / "treeoflife-200m/dataset/catalog.parquet")
    stored = parquet.read_table(next((rendered / "treeoflife-200m").glob("source=gbif/*/*.parquet")))
    assert set(stored["uuid"].to_pylist()) <= set(catalog["uuid"].to_pylist())
    nodes = [line.split("\t") for line in (rendered / "eol/taxon.tab").read_text("utf-8").splitlines()]
    assert {row[4] for row in nodes[1:]} - {""} <= {row[0] for row in nodes[1:]}


def test_duplicates_of_the_truth_are_equal_bytes_or_another_form_of_one_picture(rendered: Path) -> None:
    records = {(row["source"], row["uri"]): row for row in rows(rendered / "truth" / "records.parquet")}
    clusters = defaultdict(list)
    for row in rows(rendered / "truth" / "duplicates.parquet"):
        clusters[row["original"]].append(row)
    assert clusters
    for original, members in clusters.items():
        assert len(members) > 1
        for row in members:
            assert records[row["source"], row["uri"]]["original"] == original


def test_pictures_do_not_depend_on_the_number_of_processes_or_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = make_plan(5, 100, load())
    some.pictures = some.pictures[:9]
    some.pictures.append(replace(some.pictures[4], number=9, base=4, change="near_resized", amount=0.8))
    whole = pictures.drawn

    def breaks(picture: Picture, *rest: object) -> bytes:
        if picture.number == 6:
            raise KeyboardInterrupt
        return whole(picture, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "drawn", breaks)
    with pytest.raises(KeyboardInterrupt):
        write_pictures(some, tmp_path / "broken", processes=1, progress=lambda _: None)
    monkeypatch.undo()
    assert len(digest(tmp_path / "broken")) == 6
    write_pictures(some, tmp_path / "broken", processes=2, progress=lambda _: None)
    write_pictures(some, tmp_path / "whole", processes=1, progress=lambda _: None)
    assert len(digest(tmp_path / "whole")) == 10
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")


def test_a_rendering_that_was_interrupted_while_formats_were_written_has_the_bytes_of_a_whole_one(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quick_drawings():
        monkeypatch.setattr(truth, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            render(tmp_path / "out", seed=5, images=IMAGES, processes=1)
        monkeypatch.undo()
        (tmp_path / "out/inat21/left.jpg").write_bytes(b"of an interrupted call")
    assert not (tmp_path / "out" / "manifest.json").exists()
    render(tmp_path / "out", seed=5, images=IMAGES, processes=1)  # nothing is left to draw
    assert digest(tmp_path / "out") == digest(rendered)


def test_a_folder_with_another_rendering_or_other_files_is_refused(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(OtherRendering, match="holds a rendering with"):
        render(rendered, seed=6, images=IMAGES, processes=1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OtherRendering, match="is not empty"):
        render(tmp_path, seed=5, images=IMAGES, processes=1)


def test_the_command_says_what_is_there_and_refuses_too_few_images(
    rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(rendered), "--seed", "5", "--images", str(IMAGES), "--processes", "1"]) == 0
    assert f"{IMAGES} records of 100 species" in capsys.readouterr().err
    assert main(["--output", str(tmp_path / "new"), "--images", "3"]) == 1
    assert "at least 100 images" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
