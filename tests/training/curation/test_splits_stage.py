"""Groups, splits, unseen species, and the reasons why records are in no split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from published_numbers import CsvLayout, write_source
from pyarrow import parquet
from stated_stages import Stated
from tiny_stages import digests

from bioclip_core.errors import DataError
from bioclip_training.curation import sorted_runs
from bioclip_training.curation.configuration import (
    Curation,
    EvaluationSetConfig,
    FilterConfig,
    KindsConfig,
    SourceConfig,
    SplitsConfig,
)
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.records import RecordsStage, key_of
from bioclip_training.curation.running import Outcome, run_stages
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.published import known

Rows = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


class Split:
    """What the stage says of records, by record id."""

    def __init__(self, folder: Path, records: Rows, stated: dict[str, Rows] | None = None, **config: Any) -> None:
        stated = {"names": {}, "images": {}, "duplicates": {}, "leakage": {}, **(stated or {})}
        rows = [{"record_id": name, "uri": f"{name}.jpg", **row} for name, row in records.items()]
        source = SourceConfig(write_source(folder / "s", rows))
        filters = Stated(
            "filters", stated.pop("filters", {}), pa.schema([("key", pa.string()), ("empty", pa.float64())])
        )
        stages = (
            RecordsStage(),
            *(Stated(name, given) for name, given in stated.items()),
            KindsStage(),
            filters,
            SplitsStage(),
        )
        self.folder = folder
        self.config = Curation(folder / "out", {"s": source}, **config)
        self.outcome: Outcome = run_stages(self.config, stages)[-1]
        names = {key_of("s", name): name for name in records}
        found = parquet.read_table(folder / "out/splits").to_pylist()
        self.group = {names[row["key"]]: names[row["group"]] for row in found}
        self.split = {names[row["key"]]: row["split"] for row in found}
        self.excluded = {names[row["key"]]: row["excluded"] for row in found}

    @property
    def groups(self) -> set[frozenset[str]]:
        members = defaultdict(set)
        for name, group in self.group.items():
            members[group].add(name)
        return {frozenset(some) for some in members.values()}


def many(count: int, **row: Any) -> Rows:
    return {f"r{n}": row for n in range(count)}


def test_near_duplicates_observations_and_events_chain_into_one_group(tmp_path: Path) -> None:
    records: Rows = {
        "a": {"observation_id": "o1"}, "b": {"observation_id": "o1", "event_id": "e1"}, "c": {"event_id": "e1"}, "d": {}, "e": {},
        "f": {"observation_id": "o2"}, "g": {"event_id": "o2"},
    }  # fmt: skip
    split = Split(tmp_path, records, {"duplicates": {"c": {"near_group": "d"}}})
    assert split.groups == {frozenset("abcd"), frozenset("e"), frozenset("f"), frozenset("g")}
    smallest = min("abcd", key=lambda name: key_of("s", name))
    assert split.group["c"] == smallest
    assert split.outcome.manifest.counts["groups"] == 4
    assert split.outcome.manifest.counts["records of the largest group"] == 4


def test_images_of_one_camera_are_one_group_and_those_of_other_places_are_not(tmp_path: Path) -> None:
    trap = {"basis_of_record": "MachineObservation"}
    records: Rows = {
        "a": {**trap, "locality": "c1", "event_id": "c1/1"}, "b": {**trap, "locality": "c1", "event_id": "c1/2"},
        "c": {**trap, "event_id": "e"}, "d": {**trap, "event_id": "e"}, "e": {**trap, "locality": "c2"},
        "f": {"locality": "c1"}, "g": {"locality": "c1"},
    }  # fmt: skip
    split = Split(tmp_path, records)
    assert split.groups == {frozenset("ab"), frozenset("cd"), *map(frozenset, "efg")}
    told = "3 images of camera traps are grouped by location (2 locations; splits.cameras: location); 2 state no location and are"
    assert any(note.startswith(told) for note in split.outcome.manifest.notes)
    split = Split(tmp_path, records, splits=SplitsConfig(cameras="event"))
    assert split.groups == {*map(frozenset, "ab"), frozenset("cd"), *map(frozenset, "efg")}
    assert any(
        "grouped by event, so that one camera may be on both sides" in note for note in split.outcome.manifest.notes
    )


def test_a_group_is_on_one_side_and_the_share_of_val_is_that_of_groups(tmp_path: Path) -> None:
    records = {f"r{n}": {"observation_id": f"o{n // 4}"} for n in range(2000)}
    names = {name: {"scientific_name": "Rosa canina"} for name in records}
    split = Split(tmp_path, records, {"names": names}, splits=SplitsConfig(val=0.2))
    for group in split.groups:
        assert len({split.split[name] for name in group}) == 1
    val = sum(word == "val" for word in split.split.values())
    assert val % 4 == 0
    assert 4 * 73 < val < 4 * 127  # 500 draws of 0.2: three standard deviations are 27
    assert split.outcome.manifest.counts["records in val"] == val


def test_the_seed_decides_and_the_rest_of_the_data_does_not_and_no_val_is_made_without_a_share(tmp_path: Path) -> None:
    draws = {}
    for name, seed, count in (("one", 0, 300), ("same", 0, 200), ("other", 1, 200)):
        split = Split(tmp_path / name.replace("other", "same"), many(count), seed=seed, splits=SplitsConfig(val=0.3))
        draws[name] = {record for record, word in split.split.items() if word == "val"}
    assert draws["same"] == {name for name in draws["one"] if int(name[1:]) < 200}
    assert draws["other"] != draws["same"]
    assert set(Split(tmp_path / "same", many(200), splits=SplitsConfig(val=0)).split.values()) == {"train"}


def test_a_species_keeps_a_group_in_train(tmp_path: Path) -> None:
    records = many(60)
    names = {
        name: {"genus": "Rosa", "species": f"s{int(name[1:]) // 2}", "scientific_name": f"Rosa s{int(name[1:]) // 2}"}
        for name in records
    }
    split = Split(tmp_path, records, {"names": names}, splits=SplitsConfig(val=0.6))
    trained = {names[name]["species"] for name, word in split.split.items() if word == "train"}
    assert trained == {f"s{n}" for n in range(30)}
    assert "val" in split.split.values()


def species(*names: str) -> Rows:
    found = {}
    for number, name in enumerate(names):
        genus, _, epithet = name.partition(" ")
        found[f"r{number}"] = {"genus": genus, "species": epithet, "scientific_name": name}
    return found


def test_species_of_a_list_are_unseen_whatever_their_group(tmp_path: Path) -> None:
    (tmp_path / "unseen.txt").write_text("# rare\nrosa_Canina\n\nLarix laricina\n", "utf-8")
    names = species("Rosa canina", "Rosa rugosa", "Rosa canina", "Rosa", "Acer rubrum")
    assert names["r3"]["scientific_name"] == "Rosa"
    records = many(5)
    records["r1"] = records["r2"] = {"event_id": "e"}
    split = Split(
        tmp_path, records, {"names": names}, splits=SplitsConfig(val=0, unseen_species=tmp_path / "unseen.txt")
    )
    assert split.split == {"r0": "unseen", "r1": "", "r2": "unseen", "r3": "train", "r4": "train"}
    assert split.excluded["r1"] == "its group has a species of the split unseen"
    manifest = split.outcome.manifest
    assert manifest.counts["species of the split unseen"] == 1
    assert [(entry.reason, entry.count, entry.example) for entry in manifest.dropped] == [
        ("its group has a species of the split unseen", 1, "s: r1")
    ]
    assert manifest.notes == (
        "1 species of splits.unseen_species are in no record that may be used (the first: Larix laricina)",
        "of species of the split unseen, their genus alone is named in some records, which may be of them and stay in their splits: 1",
    )


def test_a_list_without_a_species_of_the_records_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "unseen.txt").write_text("Rosa caninna\n")
    with pytest.raises(
        DataError,
        match=r"none of its 1 species is in the records \(the first: Rosa caninna; did you mean Rosa canina\?\)",
    ):
        Split(
            tmp_path,
            many(1),
            {"names": species("Rosa canina")},
            splits=SplitsConfig(unseen_species=tmp_path / "unseen.txt"),
        )


def test_a_share_of_the_frequent_species_is_unseen_as_a_whole(tmp_path: Path) -> None:
    names = species(*(f"Rosa s{n % 40}" for n in range(400)), *(f"Acer t{n}" for n in range(100)))
    split = Split(
        tmp_path, many(500), {"names": names}, splits=SplitsConfig(val=0.1, unseen_share=0.3, unseen_images=10)
    )
    unseen = {names[name]["scientific_name"] for name, word in split.split.items() if word == "unseen"}
    assert 3 < len(unseen) < 25
    assert all(name.startswith("Rosa") for name in unseen)
    assert unseen.isdisjoint(
        names[name]["scientific_name"] for name, word in split.split.items() if word in ("train", "val")
    )


def test_published_splits_are_kept_if_that_is_asked_for_and_the_held_out_one_wins_in_a_group(tmp_path: Path) -> None:
    records: Rows = {
        "a": {"published_split": "Train"}, "b": {"published_split": "validation"}, "c": {"published_split": "test", "event_id": "e"},
        "d": {"published_split": "train", "event_id": "e"}, "e": {"event_id": "e"},
    }  # fmt: skip
    split = Split(tmp_path, records, splits=SplitsConfig(val=0, published=True))
    assert split.split == {"a": "train", "b": "val", "c": "test", "d": "test", "e": "test"}
    assert (
        split.outcome.manifest.counts[
            "records that another split than the published one has, since their group is held out"
        ]
        == 1
    )
    assert set(Split(tmp_path, records, splits=SplitsConfig(val=0)).split.values()) == {"train"}


def test_each_reason_to_be_in_no_split_is_said_and_counted(tmp_path: Path) -> None:
    records: Rows = {
        "label": {}, "image": {}, "kind": {"basis_of_record": "MACHINE_OBSERVATION"}, "filter": {}, "below": {}, "leak": {"event_id": "e"},
        "mate": {"event_id": "e"}, "taxon": {}, "reported": {}, "copy": {}, "first": {}, "good": {},
    }  # fmt: skip
    stated: dict[str, Rows] = {
        "names": {"label": {"unresolved": "no such name"}},
        "images": {"image": {"unreadable": "/somewhere/image.jpg does not exist"}},
        "filters": {"filter": {"empty": 0.9}, "below": {"empty": 0.8}},
        "leakage": {
            "leak": {"evaluation_set": "rare", "kind": "image"}, "taxon": {"evaluation_set": "rare", "kind": "taxon"},
            "reported": {"evaluation_set": "birds", "kind": "taxon"},
        },
        "duplicates": {"copy": {"near_group": "first", "duplicate_of": "first"}},
    }  # fmt: skip
    split = Split(
        tmp_path, records, stated, kinds=KindsConfig(exclude=("camera trap",)), splits=SplitsConfig(val=0),
        filters={"empty": FilterConfig("empty-frames", exclude_from=0.9)},
        evaluation_sets={"rare": EvaluationSetConfig(Path("r"), taxa="exclude"), "birds": EvaluationSetConfig(Path("b"))},
    )  # fmt: skip
    assert split.excluded == {
        "label": "without a label: no such name", "image": "without a readable image", "kind": "image kind: camera trap",
        "filter": "filter empty", "below": "", "leak": "leaks into rare by image", "mate": "its group leaks into rare",
        "taxon": "leaks into rare by taxon", "reported": "", "copy": f"duplicate of {key_of('s', 'first')}", "first": "", "good": "",
    }  # fmt: skip
    assert {name for name, word in split.split.items() if word} == {"below", "reported", "first", "good"}
    assert {entry.reason: (entry.count, entry.example) for entry in split.outcome.manifest.dropped} == {
        "without a label": (1, "s: label"), "without a readable image": (1, "s: image"), "image kind: camera trap": (1, "s: kind"),
        "filter empty": (1, "s: filter"), "leaks into rare by image": (1, "s: leak"), "its group leaks into rare": (1, "s: mate"),
        "leaks into rare by taxon": (1, "s: taxon"), "duplicate of another record": (1, "s: copy"),
    }  # fmt: skip


def test_parts_threads_and_memory_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = {
        f"r{n}": {"observation_id": f"o{n // 3}", "event_id": f"e{n // 50}" if n % 7 else ""} for n in range(400)
    }
    names = {
        name: {"scientific_name": f"s{int(name[1:]) % 20}", "genus": "g", "species": f"s{int(name[1:]) % 20}"}
        for name in records
    }
    monkeypatch.setattr(sorted_runs, "PART_ROWS", 250)
    found = []
    for name, threads, order, memory in (("one", 1, 1, 4_000_000_000), ("two", 4, -1, 256_000_000)):
        rows = dict(list(records.items())[::order])
        Split(
            tmp_path / name,
            rows,
            {"names": names},
            threads=threads,
            memory=memory,
            splits=SplitsConfig(val=0.2, unseen_share=0.1),
        )
        found.append(
            {file: digest for file, digest in digests(tmp_path / name / "out").items() if "splits/part-" in file}
        )
    assert found[0] == found[1]
    assert len(found[0]) == 2
