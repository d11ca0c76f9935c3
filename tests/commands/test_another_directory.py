"""Commands on a store that start in another directory than classify did."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_samples import Bioclip, Outcome

from bioclip_plugin.store import Store

STORE = Path("out") / "results.db"


@pytest.fixture
def project(bioclip: Bioclip, photos: Path, labels: str) -> Path:
    """Folder with a run whose labels, images and list of taxa were given by relative paths, in a store in a folder below."""
    (photos / "zero.jpg").unlink()
    Path("out").mkdir()
    Path("list.txt").write_text("Red fictus\nBlue pictus\n")
    code = bioclip(
        "classify", photos.name, "--model", "fake", "--labels", labels, "--rule", "only:file=list.txt", "--store", STORE
    ).code
    assert code == 0
    return Path.cwd()


def without_the_directory(store: Path) -> None:
    """Make the store one of a version that did not record the working directory."""
    with closing(sqlite3.connect(store)) as connection, connection:
        for run, text in connection.execute("SELECT id, provenance FROM bioclip_runs").fetchall():
            provenance = json.loads(text)
            del provenance["working_directory"]
            connection.execute("UPDATE bioclip_runs SET provenance = ? WHERE id = ?", (json.dumps(provenance), run))


@pytest.fixture(params=["recorded", "not recorded", "moved", "beside the store"])
def store(project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's store, seen from an unrelated working directory."""
    store = project / STORE
    if request.param != "recorded":
        without_the_directory(store)
    if request.param == "moved":
        store = Path(shutil.move(project / "labels", project / "moved" / "labels")).parent / STORE
        for name in ("photos", "out", "list.txt"):
            shutil.move(project / name, project / "moved" / name)
    if request.param == "beside the store":
        store = project / "labels.db"
        shutil.move(project / STORE, store)
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return store


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()


def good(said: Outcome) -> Outcome:
    assert (said.code, said.err) == (0, ""), said
    return said


def test_rules_find_the_labels_and_the_files_of_the_runs_own_rules(bioclip: Bioclip, store: Path) -> None:
    pooled = good(bioclip("rules", "apply", "--store", store, "--rule", "sequences"))
    assert "Rules: 3 regions" in pooled.out
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE bioclip_decisions SET trail = NULL")
    assert "Rules: 3 regions" in good(bioclip("rules", "apply", "--run", "1", "--store", store)).out
    with Store.open(store) as opened:
        assert len(opened.runs()) == 2  # the identity of a rule is that of its file's content


def test_reviews_and_second_opinions_find_the_labels(bioclip: Bioclip, store: Path) -> None:
    assert "Label set:" not in good(bioclip("second-opinion", "--store", store)).out
    Path("checked.csv").write_text("uri,name\nphotos/red.png,Red fictus\n")
    assert "Names:" not in good(bioclip("review", "import", "checked.csv", "--reviewer", "Bo", "--store", store)).out


def test_a_report_finds_the_images(bioclip: Bioclip, store: Path) -> None:
    said = good(bioclip("report", "--store", store))
    assert "could not be shown" not in said.out
    assert "Pictures: 3" in said.out


def test_an_export_needs_neither(bioclip: Bioclip, store: Path) -> None:
    assert "3 rows" in good(bioclip("export", "--store", store, "--output", "r.csv")).out


def test_other_labels_of_that_name_in_the_working_directory_are_not_taken(
    bioclip: Bioclip, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Path("taxa.csv").write_text("kingdom,genus,specificEpithet\nFictia,Green,other\n")
    good(bioclip("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels"))
    without_the_directory(project / STORE)
    good(bioclip("rules", "apply", "--store", project / STORE, "--rule", "sequences"))


def test_labels_that_are_gone_are_named_with_the_places_that_were_tried(
    bioclip: Bioclip, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project / "labels")
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    said = bioclip("rules", "apply", "--store", project / STORE, "--rule", "sequences")
    assert said.code == 1
    assert said.err.startswith(
        f"Error: the labels labels of run 1 are not there any more: tried {project / 'labels'}, {elsewhere / 'labels'}, "
        f"{project / 'out' / 'labels'}; put them back"
    )
    assert "tried" in bioclip("second-opinion", "--store", project / STORE).out


def test_the_rules_of_a_derived_run_are_found_where_they_were_given(
    bioclip: Bioclip, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = project / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    Path("park.txt").write_text("Green fictus\n")
    good(bioclip("rules", "apply", "--store", project / STORE, "--rule", "only:file=park.txt"))
    with closing(sqlite3.connect(project / STORE)) as connection, connection:
        connection.execute("UPDATE bioclip_decisions SET trail = NULL")
    monkeypatch.chdir(project / "moved")
    assert "Rules: 3 regions" in good(bioclip("rules", "apply", "--run", "2", "--store", project / STORE)).out
