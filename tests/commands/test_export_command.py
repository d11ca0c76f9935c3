"""``export``: every listed image is in the file, the file is whole or absent, and a repeated export is identical."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from command_samples import Bioclip
from pyarrow import parquet

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.tables.write import COLUMNS
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import StoredDecision

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
FELIDAE = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
EXPORTERS = {exporter.name: exporter for exporter in create_plugin_manager(installed=False).exporters().values()}


def run_of(**answer_settings: Any) -> Run:
    moment = datetime(2031, 1, 1, tzinfo=UTC)
    settings = {"rank": "species", **answer_settings}
    return Run(
        id=1, key="k", sources=("photos",), created_at=moment, begun_at=moment, ended_at=moment, status="finished",
        resumed=False, settings={}, provenance={}, earlier_provenance=(), feature_set=1, answer_set=1, decision_set=1,
        feature_id="f", answer_id="a", rule_id="r", feature_settings={}, answer_settings=settings, rule_settings={},
        dimension=3, counts={},
    )  # fmt: skip


def region(box: Region | None = None, *, flags: tuple[str, ...] = ()) -> StoredRegion:
    lynx, family = Candidate(LYNX, "species", 0.75), Candidate(FELIDAE, "family", 0.125)
    return StoredRegion(box, 1, {"species": (lynx, family), "family": (Candidate(FELIDAE, "family", 0.875),)}, flags,
                        StoredDecision("taxon", Candidate(FELIDAE, "family", 0.875)))  # fmt: skip


def item(
    uri: str = "a.jpg", *regions: StoredRegion, status: Any = "done", failure: Failure | None = None, **about: Any
) -> StoredItem:
    return StoredItem(MediaItem(uri, **about), status, failure, list(regions))


class Chosen(Export):
    """Export of given items, as if they came from a store."""

    def __init__(self, items: Iterable[StoredItem], run: Run) -> None:
        super().__init__(cast("Store", None), run)
        object.__setattr__(self, "_given", items)

    def items(self, ranks: Collection[str] | None = None) -> Iterator[StoredItem]:
        return iter(self._given)

    def reviews_of(self, items: Sequence[StoredItem]) -> dict[tuple[str, int], list[Review]]:
        return {}


def written(tmp_path: Path, name: str, *items: StoredItem, run: Run | None = None) -> tuple[int, Path]:
    path = tmp_path / f"out.{name}"
    return EXPORTERS[name].write(path, Chosen(items, run or run_of())), path


def csv_rows(tmp_path: Path, *items: StoredItem, run: Run | None = None) -> list[dict[str, str]]:
    _, path = written(tmp_path, "csv", *items, run=run)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_holds_the_best_candidate_the_others_and_the_consensus(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, item("a.jpg", region(flags=("prior_ignored",))))
    assert (row["scientific_name"], row["rank"], row["probability"]) == ("Lynx fictus", "species", "0.75")
    assert (row["kingdom"], row["genus"], row["species"], row["common_name"]) == (
        "Animalia",
        "Lynx",
        "fictus",
        "invented lynx",
    )
    assert row["other_candidates"] == "Felidae (0.125)"
    assert (row["consensus_scientific_name"], row["consensus_rank"], row["consensus_probability"]) == (
        "Felidae",
        "family",
        "0.875",
    )
    assert (row["status"], row["flags"], row["region_x"], row["failure_reason"]) == ("done", "prior_ignored", "", "")


def test_the_best_candidate_is_of_the_rank_that_the_run_asked_for(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, item("a.jpg", region()), run=run_of(rank="family"))
    assert (row["scientific_name"], row["rank"], row["probability"], row["genus"]) == ("Felidae", "family", "0.875", "")


def test_custom_labels_are_exported_by_their_own_words(tmp_path: Path) -> None:
    fox = Candidate(Taxon(common_name="a red fox"), "label", 0.5)
    stored = StoredRegion(None, 1, {"label": (fox,)}, (), StoredDecision("unknown", None))
    (row,) = csv_rows(tmp_path, item("a.jpg", stored), run=run_of(words=["a red fox"]))
    assert (row["scientific_name"], row["rank"], row["consensus_scientific_name"]) == ("a red fox", "label", "")


def test_every_region_is_a_row_and_so_is_an_item_without_any(tmp_path: Path) -> None:
    rows = csv_rows(
        tmp_path,
        item("two.jpg", region(Region(0.1, 0.2, 0.3, 0.4)), region(Region(0.5, 0.5, 0.25, 0.25)), frame=7),
        item("empty.jpg"),
        item("broken.jpg", status="failed", failure=Failure("decode", "the file is cut off")),
        item("later.jpg", status="todo"),
    )
    assert [row["uri"] for row in rows] == ["two.jpg", "two.jpg", "empty.jpg", "broken.jpg", "later.jpg"]
    assert [rows[0][f"region_{side}"] for side in "xywh"] == ["0.1", "0.2", "0.3", "0.4"]
    assert rows[0]["frame"] == "7"
    assert [row["status"] for row in rows] == ["done", "done", "done", "failed", "todo"]
    assert (rows[2]["flags"], rows[4]["flags"]) == ("no_regions", "")
    assert (rows[3]["failure_stage"], rows[3]["failure_reason"]) == ("decode", "the file is cut off")


def test_a_time_has_an_offset_only_if_it_is_known(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=-3))
    rows = csv_rows(
        tmp_path,
        item("naive.jpg", region(), captured_at=datetime(2031, 3, 2, 5, 40, 1)),
        item("aware.jpg", region(), captured_at=datetime(2031, 3, 2, 5, 40, 1, tzinfo=zone)),
    )
    assert [row["captured_at"] for row in rows] == ["2031-03-02T05:40:01", "2031-03-02T05:40:01-03:00"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_begins_like_a_formula_is_escaped_in_csv(tmp_path: Path, start: str) -> None:
    (row,) = csv_rows(tmp_path, item("a.jpg", region(), deployment=f"{start}1+1"))
    assert row["deployment"] == f"'{start}1+1"


def test_negative_coordinates_stay_numbers(tmp_path: Path) -> None:
    (row,) = csv_rows(tmp_path, item("a.jpg", region(), place=Place("GB", None, -1.5, -134.48752777777778)))
    assert (row["latitude"], row["longitude"], row["country"]) == ("-1.5", "-134.4875278", "GB")


def test_parquet_has_types_and_nulls_and_the_same_columns(tmp_path: Path) -> None:
    count, path = written(
        tmp_path, "parquet", item("-a.jpg", region(), place=Place(latitude=-1.5, longitude=2.0)),
        item("b.jpg", status="failed", failure=Failure("read", "gone")),
    )  # fmt: skip
    table = parquet.read_table(path)
    rows = table.to_pylist()
    assert (count, tuple(table.column_names)) == (2, COLUMNS)
    assert (rows[0]["uri"], rows[0]["latitude"], rows[0]["probability"]) == ("-a.jpg", -1.5, 0.75)
    assert (rows[0]["region_x"], rows[1]["probability"], rows[1]["failure_reason"]) == (None, None, "gone")


def test_json_lines_equal_the_output_of_classify(bioclip: Bioclip, classified: str, photos: Path) -> None:
    printed = bioclip(
        "classify", photos.name, "--model", "fake", "--labels", "labels", "--store", classified, "--json"
    ).out
    assert bioclip("export", "--store", classified, "--format", "jsonl", "--output", "r.jsonl").code == 0
    assert Path("r.jsonl").read_text("utf-8") == printed


def test_json_lines_name_open_items(tmp_path: Path) -> None:
    count, path = written(tmp_path, "jsonl", item("later.jpg", status="todo"), item("empty.jpg"))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"uri": "later.jpg", "frame": 0, "status": "todo"},
        {"uri": "empty.jpg", "frame": 0, "status": "done"},
    ]
    assert count == 2


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_the_same_results_give_the_same_bytes(bioclip: Bioclip, classified: str, name: str) -> None:
    for output in ("one", "two"):
        assert bioclip("export", "--store", classified, "--format", name, "--output", output).code == 0
    assert Path("one").read_bytes() == Path("two").read_bytes()


class Regions(list[StoredRegion]):
    """Regions of an item, with a count of such objects in memory."""

    alive = most_alive = 0

    def __init__(self) -> None:
        super().__init__([region()])
        Regions.alive += 1
        Regions.most_alive = max(Regions.alive, Regions.most_alive)

    def __del__(self) -> None:
        Regions.alive -= 1


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_a_long_run_is_written_item_by_item(tmp_path: Path, name: str) -> None:
    Regions.most_alive = 0
    items = (StoredItem(MediaItem(f"{n}.jpg"), "done", None, Regions()) for n in range(2000))
    assert EXPORTERS[name].write(tmp_path / "out", Chosen(items, run_of())) == 2000
    assert Regions.most_alive <= 1002  # 500 whose reviews are read together, and the 500 before them


def test_parquet_holds_one_row_group_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioclip_plugin.formats.tables.write._ROWS_A_GROUP", 100)
    _, path = written(tmp_path, "parquet", *(item(f"{n}.jpg", region()) for n in range(250)))
    metadata = parquet.read_metadata(path)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [100, 100, 50]


def test_the_latest_run_is_exported_unless_another_is_named(bioclip: Bioclip, classified: str, photos: Path) -> None:
    bioclip("classify", photos.name, "--model", "fake", "--labels", "labels", "--rank", "genus", "--store", classified)
    bioclip("export", "--store", classified, "--output", "latest.csv")
    bioclip("export", "--store", classified, "--run", "1", "--output", "first.csv")
    assert ",Blue pictus,species," in Path("first.csv").read_text()
    assert ",Blue,genus," in Path("latest.csv").read_text()
    refused = bioclip("export", "--store", classified, "--run", "9", "--output", "x.csv")
    assert refused.code == 1
    assert "no run 9" in refused.err


def test_it_says_how_many_rows_and_where(bioclip: Bioclip, classified: str) -> None:
    said = bioclip("export", "--store", classified, "--output", "r.csv")
    assert (said.code, said.out) == (0, "Run 1: 4 images, 4 rows (csv)\nOutput: r.csv\n")


def test_an_existing_output_is_replaced_only_by_force(bioclip: Bioclip, classified: str) -> None:
    Path("r.csv").write_text("mine")
    refused = bioclip("export", "--store", classified, "--output", "r.csv")
    assert (refused.code, Path("r.csv").read_text()) == (1, "mine")
    assert "--force" in refused.err
    assert bioclip("export", "--store", classified, "--output", "r.csv", "--force").code == 0
    assert Path("r.csv").read_text().startswith("uri,")


def test_a_format_that_is_not_known_is_refused_with_those_that_are(bioclip: Bioclip, classified: str) -> None:
    refused = bioclip("export", "--store", classified, "--format", "docx", "--output", "r.docx")
    assert refused.code == 2
    assert all(name in refused.err for name in ("docx", "csv", "parquet", "jsonl"))


def test_a_day_in_another_form_is_refused_with_an_example(bioclip: Bioclip, classified: str) -> None:
    outcome = bioclip("export", "--store", classified, "--output", "a.csv", "--since", "03/04/2024")
    assert outcome.code == 2
    assert "'03/04/2024' is not a day: give one such as 2024-05-31" in " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("header", "image", "empty"),
    [("image", "photos/red.png", ""), ("RelativePath,File", "photos,red.png", "photos,")],
)
@pytest.mark.usefixtures("photos")
def test_a_row_of_a_table_that_is_skipped_has_its_keys_beside_the_reason(
    bioclip: Bioclip, labels: str, header: str, image: str, empty: str
) -> None:
    Path("t.csv").write_text(f"{header},catalogNumber\n{image},B 1\n{empty},B 2\n{image},B 3\n")
    for _ in range(2):  # also of a run that continues
        bioclip("classify", "t.csv", "--model", "fake", "--labels", labels, "--store", "t.db")
    assert bioclip("export", "--store", "t.db", "--output", "t-out.csv").code == 0
    with Path("t-out.csv").open(newline="") as file:
        rows = {row["catalogNumber"]: row for row in csv.DictReader(file)}
    assert {key: (row["status"], row["uri"]) for key, row in rows.items() if key != "B 1"} == {
        "B 2": ("failed", "t.csv#row=2"),
        "B 3": ("failed", "t.csv#row=3"),
    }
    assert "row 2: " in rows["B 2"]["failure_reason"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [("r", b"uri,"), ("r.csv", b"uri,"), ("r.XLSX", b"PK"), ("r.parquet", b"PAR1"), ("r.jsonl", b"{")],
)
def test_the_format_follows_from_the_ending_of_the_name(
    bioclip: Bioclip, classified: str, name: str, begins: bytes
) -> None:
    assert bioclip("export", "--store", classified, "--output", name).code == 0
    assert Path(name).read_bytes().startswith(begins)


@pytest.mark.parametrize("name", ["r.xls", "r.json", "r.zip", "r.html", "r.tsv", "r.2024"])
def test_a_name_that_does_not_tell_the_format_is_refused_with_the_formats(bioclip: Bioclip, name: str) -> None:
    refused = bioclip("export", "--output", name)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert all(word in refused.err for word in (name, "--format", "csv", "megadetector", "darwin-core", ".xlsx"))


@pytest.mark.parametrize(
    ("format_name", "name", "said"),
    [
        ("csv", "r.xlsx", "a name ending in .xlsx is for --format xlsx, not csv"),
        ("xlsx", "r.csv", "a name ending in .csv is for --format csv, not xlsx"),
        ("megadetector", "r.csv", "give that format or a name ending in .json"),
        ("darwin-core", "dw.csv", "give a folder or a name ending in .zip"),
        ("folders", "dw.json", "give a folder or a name ending in .zip"),
    ],
)
def test_a_name_with_the_ending_of_another_format_is_refused(
    bioclip: Bioclip, format_name: str, name: str, said: str
) -> None:
    refused = bioclip("export", "--format", format_name, "--output", name)
    assert (refused.code, refused.err.count("\n"), said in refused.err) == (2, 1, True)


def test_a_store_that_is_not_there_is_named_and_not_made(bioclip: Bioclip, tmp_path: Path) -> None:
    refused = bioclip("export", "--store", "nowhere.db", "--output", "r.csv")
    assert refused.code == 1
    assert "nowhere.db" in refused.err
    assert not (tmp_path / "nowhere.db").exists()


def test_a_damaged_store_leaves_no_file(bioclip: Bioclip, classified: str, tmp_path: Path) -> None:
    with sqlite3.connect(classified) as connection:
        connection.execute("DROP TABLE bioclip_candidates")
    refused = bioclip("export", "--store", classified, "--output", "r.csv")
    assert refused.code == 1
    assert not [path.name for path in tmp_path.iterdir() if "r.csv" in path.name]


# -- existing files are safe -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("export", "--format", "csv"),
        ("report",),
        ("second-opinion",),
        ("review", "stats"),
        ("catalog", "build", "results.db"),
    ],
)
def test_a_store_is_never_replaced(bioclip: Bioclip, classified: str, command: tuple[str, ...]) -> None:
    store = ("--store", classified) if command[0] != "catalog" else ()
    before = Path(classified).read_bytes()
    refused = bioclip(*command, *store, "--output", classified, "--force")
    assert refused.code == 1
    assert "give another name" in refused.err
    assert Path(classified).read_bytes() == before
    copy = Path("copy.db")  # not the store that is read, but still a store
    copy.write_bytes(before)
    assert "perhaps a result store" in bioclip(*command, *store, "--output", copy, "--force").err


def test_an_input_file_is_never_replaced(bioclip: Bioclip, classified: str) -> None:
    ledger, reviews = Path("sent.ledger"), Path("checked.csv")
    ledger.touch()
    reviews.write_text("image,verdict,reviewer\nphotos/red.png,blank,Ann\n")
    table = ("export", "--store", classified, "--output", ledger, "--force", "--ledger", ledger)
    assert "is an input of this command" in bioclip(*table, "--format", "csv").err
    assert "is a file" in bioclip(*table, "--format", "darwin-core").err
    refused = bioclip("review", "import", reviews, "--store", classified, "--rejected", reviews, "--force")
    assert "is an input of this command" in refused.err
    assert reviews.read_text().endswith("Ann\n")


@pytest.mark.parametrize("command", ["export", "report"])
def test_a_store_in_use_and_its_images_stay(bioclip: Bioclip, classified: str, command: str) -> None:
    Path("other.db").write_bytes(Path(classified).read_bytes())
    Path("other.db-wal").write_text("what was committed last")
    for name in ("other.db-wal", "photos/red.png", Path("photos/red.png").absolute()):
        before = Path(name).read_bytes()
        form = ("--format", "csv") if command == "export" else ()
        refused = bioclip(command, "--store", classified, "--output", name, "--force", *form)
        assert refused.code == 1
        assert "give another name" in refused.err
        assert Path(name).read_bytes() == before


@pytest.mark.parametrize("format_name", ["darwin-core", "camtrap-dp"])
def test_a_folder_is_replaced_only_if_it_is_an_earlier_export(
    bioclip: Bioclip, classified: str, format_name: str
) -> None:
    Path("cameras.csv").write_text(
        "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\nphotos,50,4,2024-01-01T00:00Z,2024-02-01T00:00Z\n"
    )
    asked = ("export", "--store", classified, "--format", format_name, "--deployments", "cameras.csv", "--output")
    assert bioclip(*asked, "package").code == 0
    held = sorted(path.name for path in Path("package").iterdir())
    assert "--force" in bioclip(*asked, "package").err
    assert bioclip(*asked, "package", "--force").code == 0
    assert sorted(path.name for path in Path("package").iterdir()) == held
    Path("package/media").mkdir()
    Path("package/media/fox.jpg").write_text("a photograph")
    for folder, named in (("photos", "blue.png, green.png, red.png and 1 more"), ("package", "media")):
        refused = bioclip(*asked, folder, "--force")
        assert refused.code == 1
        assert f"holds more than an earlier output ({named})" in refused.err
    assert Path("package/media/fox.jpg").read_text() == "a photograph"
    assert Path("photos/red.png").is_file()


# -- selections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["export", "report"])
def test_a_run_that_is_not_finished_says_so(bioclip: Bioclip, photos: Path, labels: str, command: str) -> None:
    assert photos.is_dir()
    rules = ("--rule", "unknown:below=0.99")
    assert bioclip("classify", "photos", "--model", "fake", "--labels", labels, "--store", "r.db", *rules).code == 3
    asked = (command, "--store", "r.db", "--output", "out.csv", "--force")
    assert "Not finished" not in bioclip(*asked).out
    with sqlite3.connect("r.db") as connection:
        connection.execute("UPDATE bioclip_decisions SET trail = NULL")
        connection.execute("DELETE FROM bioclip_failures")
        connection.execute("UPDATE bioclip_listing SET status = 0 WHERE status = 2")
    said = bioclip(*asked).out
    assert "Not finished: 1 images are still to do" in said
    assert "Not finished: 3 regions are not decided by the run's rules" in said
    assert "Next: bioclip-plugin rules apply --store sqlite:///r.db --run 1" in said
    assert bioclip("rules", "apply", "--store", "sqlite:///r.db", "--run", "1").code == 0
    assert "are not decided" not in bioclip(*asked).out


def test_a_taxon_without_answers_is_reported(bioclip: Bioclip, classified: str) -> None:
    done = bioclip("export", "--store", classified, "--taxon", "Nonexistus", "--output", "r.csv")
    assert (done.code, "Nothing passes" in done.out) == (0, True)


def test_a_selection_of_nothing_names_the_options_given_and_the_images_without_a_time(
    bioclip: Bioclip, classified: str
) -> None:
    said = bioclip("export", "--store", classified, "--since", "2024-05-31", "--output", "r.csv").out
    assert "Nothing passes --since; 4 of 4 images have no time\n" in said
    said = bioclip("export", "--store", classified, "--min-probability", "1", "--taxon", "X", "--output", "s.csv").out
    assert "Nothing passes --taxon and --min-probability; is the taxon written as in the results?\n" in said


def test_a_region_that_a_rule_left_unknown_has_no_taxon(bioclip: Bioclip, photos: Path, labels: str) -> None:
    assert photos.is_dir()
    chosen = ("classify", "photos", "--model", "fake", "--labels", labels, "--store", "r.db")
    bioclip(*chosen)
    bioclip("rules", "apply", "--store", "r.db", "--rule", "unknown:below=1")
    for run, rows in ((1, 3), (2, 0)):
        for option in (("--taxon", "Fictia"), ("--min-probability", "0")):
            asked = ("export", "--store", "r.db", "--run", run, *option, "--output", "r.csv", "--force")
            assert f"{rows} rows" in bioclip(*asked).out
