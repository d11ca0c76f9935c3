"""The ledger: a second export sends only changes, and uses the first export only if the ledger has its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from darwin_store import EXPORTER, FOX, WOLF, answered, exported, identifications, specimen, table

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.darwin_core.ledger import Ledger, commit, discard, draft_of
from bioclip_plugin.store import ReviewTarget, Store

ABOUT = '# {"ledger": "darwin-core", "version": 1}\nidentificationID\toccurrenceID\tdigest\tstate\n'
S1, S2, S3 = ({"occurrenceID": f"s{n}"} for n in (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "sent.ledger"


def sent(store: Store, folder: Path, ledger: Path, *, selection: Selection | None = None) -> tuple[list[str], str]:
    """Export the newest run as the export command does, and return the sent rows and the content of the ledger."""
    exported(store, folder, ledger=ledger, selection=selection)
    (line,) = EXPORTER.committed(Export(store, store.run(), ExportOptions(ledger=ledger)))
    return [f"{row['coreid']} {row['scientificName']}" for row in identifications(folder)], line


def run_of(store: Store, *taxa: Any, rule: str) -> None:
    named = [(specimen(f"{n}.jpg", {"occurrenceID": f"s{n}"}), [(None, taxon, 0.9)]) for n, taxon in enumerate(taxa, 1)]
    answered(store, named, rule_id=rule)


def test_a_second_export_sends_new_rows_and_names_withdrawn_ones(store: Store, tmp_path: Path, ledger: Path) -> None:
    run_of(store, FOX, FOX, FOX, rule="r1")
    rows, line = sent(store, tmp_path / "1", ledger)
    assert rows == ["s1 Vulpes fictus", "s2 Vulpes fictus", "s3 Vulpes fictus"]
    assert line.endswith(
        "3 new, 0 changed, 0 sent before and left out, 0 withdrawn; 0 specimens of the ledger are not in this export"
    )
    old = identifications(tmp_path / "1")[1]["identificationID"]

    rows, line = sent(store, tmp_path / "2", ledger)
    assert rows == []
    assert [len(table(tmp_path / "2", name)) for name in ("occurrence.txt", "multimedia.txt", "candidates.tsv")] == [
        0,
        0,
        0,
    ]
    assert "0 new, 0 changed, 3 sent before and left out" in line

    run_of(store, FOX, WOLF, None, rule="r2")  # s2 is now another animal, and s3 is without a decision
    rows, line = sent(store, tmp_path / "3", ledger)
    assert rows == ["s2 Canis fictus"]
    assert "1 new, 0 changed, 1 sent before and left out, 2 withdrawn" in line
    gone = table(tmp_path / "3", "withdrawn.tsv")
    assert sorted(row["occurrenceID"] for row in gone) == ["s2", "s3"]
    assert old in {row["identificationID"] for row in gone}

    run_of(store, FOX, FOX, rule="r3")  # s2 is back, and s3 is not part of the run
    rows, line = sent(store, tmp_path / "4", ledger)
    assert rows == ["s2 Vulpes fictus"]
    assert "0 new, 1 changed, 1 sent before and left out, 1 withdrawn; 0 specimens" in line


def test_scores_dates_and_versions_are_no_changes(store: Store, tmp_path: Path, ledger: Path) -> None:
    answered(store, [(specimen("a.jpg", S1), [(None, FOX, 0.9)])])
    sent(store, tmp_path / "1", ledger)
    two = [(specimen("a.jpg", S1), [(None, FOX, 0.8)]), (specimen("b.jpg", S1), [(None, FOX, 0.7)])]
    answered(store, two, rule_id="r2", answer_id="a2", answer_settings={"label_set": "1234567890abcdef1234", "top": 7})
    assert sent(store, tmp_path / "2", ledger)[0] == []


def test_a_new_review_goes_out_without_the_machines_row(store: Store, tmp_path: Path, ledger: Path) -> None:
    run_of(store, FOX, rule="r1")
    sent(store, tmp_path / "1", ledger)
    store.add_review(ReviewTarget("media", "1.jpg"), "taxon", WOLF, reviewer="A. Curator")
    assert sent(store, tmp_path / "2", ledger)[0] == ["s1 Canis fictus"]
    assert len(table(tmp_path / "2", "multimedia.txt")) == 1
    assert table(tmp_path / "2", "candidates.tsv") == []


def test_a_part_of_a_run_withdraws_nothing_and_other_specimens_are_counted(
    store: Store, tmp_path: Path, ledger: Path
) -> None:
    run_of(store, FOX, FOX, rule="r1")
    sent(store, tmp_path / "1", ledger)
    answered(
        store,
        [(specimen("1.jpg", S1), [(None, WOLF, 0.9)]), (specimen("3.jpg", S3), [(None, WOLF, 0.5)])],
        rule_id="r2",
    )
    rows, line = sent(store, tmp_path / "2", ledger, selection=Selection(min_probability=0.8))
    assert rows == ["s1 Canis fictus"]
    assert "0 withdrawn; 1 specimens of the ledger are not in this export" in line
    assert table(tmp_path / "2", "withdrawn.tsv") == []


def test_the_ledger_changes_only_when_the_export_has_its_name(store: Store, tmp_path: Path, ledger: Path) -> None:
    run_of(store, FOX, rule="r1")
    exported(store, tmp_path / "1", ledger=ledger)
    assert not ledger.exists()
    EXPORTER.abandoned(Export(store, store.run(), ExportOptions(ledger=ledger)))
    assert not draft_of(ledger).exists()
    with pytest.raises(UsageError, match="was not changed"):
        commit(ledger)
    assert len(sent(store, tmp_path / "2", ledger)[0]) == 1
    before = ledger.read_bytes()
    exported(store, tmp_path / "3", ledger=ledger)
    assert ledger.read_bytes() == before


def test_an_export_without_a_ledger_is_whole(store: Store, tmp_path: Path, ledger: Path) -> None:
    run_of(store, FOX, FOX, rule="r1")
    sent(store, tmp_path / "1", ledger)
    assert len(identifications(exported(store, tmp_path / "2"))) == 2
    assert EXPORTER.committed(Export(store, store.run())) == []
    assert not (tmp_path / "2" / "withdrawn.tsv").exists()


def test_a_ledger_is_sorted_text_with_a_header_that_names_it(store: Store, tmp_path: Path, ledger: Path) -> None:
    run_of(store, *[FOX] * 30, rule="r1")
    sent(store, tmp_path / "1", ledger)
    about, columns, *rows = ledger.read_text().splitlines()
    assert json.loads(about.removeprefix("# "))["ledger"] == "darwin-core"
    assert columns.split("\t") == ["identificationID", "occurrenceID", "digest", "state"]
    assert rows == sorted(rows)
    assert {row.split("\t")[3] for row in rows} == {"sent"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a ledger of exports"),
        ("id,name\n1,2\n", "is not a ledger of exports"),
        (ABOUT.replace("1", "9"), "is of version 9; this software has 1"),
        (ABOUT.replace("darwin-core", "other"), "is one of other, not of darwin-core"),
        (f"{ABOUT}a\tb\n", "is damaged in line 3"),
        (ABOUT + "a\tb\tc\tsent\n" * 2, "duplicate identificationID"),
    ],
)
def test_a_file_that_is_not_a_valid_ledger_is_left_unchanged(ledger: Path, text: str, why: str) -> None:
    ledger.write_text(text)
    with pytest.raises(UsageError, match=why):
        Ledger(ledger, "darwin-core")
    assert ledger.read_text() == text


def test_a_ledger_in_a_missing_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder .*missing of the ledger a does not exist"):
        Ledger(tmp_path / "missing" / "a", "darwin-core")
    discard(tmp_path / "missing" / "a")
