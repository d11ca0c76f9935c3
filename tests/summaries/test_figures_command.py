"""``figures`` on the command line: a run with deployments and reviews to tables and pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from plain_figures import plain_figures
from report_samples import BLUE, PERSON, RED, TAXA, House, item, trapped

from bioclip_core.errors import BioclipError
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.browsing.view import RunView
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import ReviewTarget, Store
from bioclip_plugin.store.records import StatedReview
from bioclip_plugin.summaries import writing
from bioclip_plugin.summaries.making import make_figures
from bioclip_plugin.summaries.options import FigureOptions
from bioclip_plugin.summaries.reading import read_run
from bioclip_plugin.summaries.viewing import read_columns
from bioclip_plugin.testing import FakeModel

Figures = Callable[..., tuple[int, str, str]]
DEPLOYMENTS = """deploymentID,deploymentStart,deploymentEnd
CAM 0,2031-05-01,2031-05-10
CAM 1,2031-05-01,2031-05-10
CAM 2,2031-05-01T12:00:00,2031-05-06T12:00:00
CAM 9,2031-05-01,2031-05-05
"""


def manager_of() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return manager


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Empty store, whose folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)
    Path("taxa.csv").write_text(TAXA)
    assert run(["labels", "build", "taxa.csv", "--model", "fake", "--output", "labels"], manager=manager_of()) == 0
    return House(tmp_path, manager_of(), tmp_path / "labels")


@pytest.fixture
def figures(house: House, capsys: pytest.CaptureFixture[str]) -> Figures:
    """Command over the store: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with plain_figures():
            code = run(["figures", "--store", house.address, *map(str, arguments)], manager=house.manager)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def reviewed(house: House, *stated: tuple[MediaItem, str, Taxon | None]) -> None:
    """Store a review of each image: a taxon, or blank."""
    reviews = [
        StatedReview(ReviewTarget("media", of.uri, of.frame), "taxon" if taxon else "blank", taxon, reviewer, None)
        for of, reviewer, taxon in stated
    ]
    with Store.open(house.address) as store:
        store.add_reviews(reviews)


def test_a_runs_figures_are_written_and_what_is_not_in_them_is_said(house: House, figures: Figures) -> None:
    items = trapped(house, 15)
    items[0] = replace(items[0], deployment="=CAM", captured_at=None)
    walker = item(house.photo("walker.jpg", "red"), regions=(PERSON,), detected=True)
    house.classify([*items, walker, item(house.folder / "gone.jpg")])
    reviewed(house, (items[4], "Ann", RED), (items[4], "Bob", BLUE), (items[6], "Ann", None), (items[6], "Bob", None))
    Path("deployments.csv").write_text(DEPLOYMENTS)
    code, out, err = figures(
        "--output",
        "out",
        "--deployments",
        "deployments.csv",
        "--permutations",
        20,
        "--format",
        "csv",
        "--format",
        "svg",
    )
    assert (code, err) == (0, "")
    assert "17 images, 5 cameras, 30.0 camera-days of 4 cameras" in out
    assert "Effort known by: nothing (1), deployment (4)" in out
    assert "Regions that are not counted as taxa: 1 blank, 1 person, 1 without an answer (failed)" in out
    assert "1 with a reviewer's name" in out.replace("1 of them", "1")
    assert out.splitlines()[-1] == "Output: out (9 tables, 12 pictures)"
    assert Path("out/summary.txt").read_text("utf-8").splitlines() == out.splitlines()[1:-1]
    effort = {row["camera"]: row for row in rows_of("out/effort.csv")}
    assert [effort[name]["camera_days"] for name in ("CAM 0", "CAM 2", "CAM 9", "'=CAM")] == ["10.0", "5.0", "5.0", ""]
    rates = {row["taxon"]: row for row in rows_of("out/rates.csv")}
    assert {name: (row["events"], row["events_with_a_review"], row["cameras"]) for name, row in rates.items()} == {
        "Red fictus": ("7", "0", "4"), "Blue pictus": ("3", "1", "4"), "Green fictus": ("3", "0", "4"),
    }  # fmt: skip
    assert rates["Red fictus"]["events_per_100_camera_days"] == "23.3333"
    assert rows_of("out/reviewers.csv")[0]["share_equal"] == "0.5"
    assert rows_of("out/disagreements.csv") == [
        {"answer": "Blue pictus", "other_answer": "Red fictus", "pairs_of_reviews": "1"}
    ]
    for picture in ("hours", "dates", "cameras", "rates", "accumulation", "reviewers"):
        light, dark = (Path(f"out/{picture}{variant}.svg").read_text("utf-8") for variant in ("", "-dark"))
        assert light.count("#14181c") == 0 < dark.count("#14181c")


def test_a_views_columns_give_the_figures_of_a_pass_over_the_store(house: House) -> None:
    items = trapped(house, 6)
    house.classify([*items, item(house.folder / "gone.jpg")])
    reviewed(house, (items[0], "Ann", BLUE), (items[1], "Ann", None), (items[1], "Bob", RED))
    with Store.open(house.address) as store:
        one = store.run()
        passed = read_run(store, one, DeploymentOptions())
        with RunView.open(store, one.id) as view:
            viewed = read_columns(store, one, view.columns)
    made = [
        make_figures(read.sightings, read.stated, read.reviews, FigureOptions(), Findings())
        for read in (passed, viewed)
    ]
    assert [figure.rows() for figure in made[0].figures.values()] == [
        figure.rows() for figure in made[1].figures.values()
    ]
    assert made[0].lines == made[1].lines
    assert "1 item of two or more, 0 with equal answers" in made[0].lines[-1]


def test_one_table_needs_no_pictures_and_replaces_only_what_is_ours(house: House, figures: Figures) -> None:
    house.classify(trapped(house, 3))
    assert figures("--output", "out", "--figure", "effort", "--format", "csv")[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["effort.csv", "summary.txt"]
    assert {row["effort_known_by"] for row in rows_of("out/effort.csv")} == {"images"}
    assert "--force" in figures("--output", "out")[2]
    Path("out/mine.txt").touch()
    code, _, err = figures("--output", "out", "--force")
    assert code == 1
    assert "mine.txt" in err
    assert figures("--output", "dark", "--figure", "rates", "--format", "png", "--theme", "dark")[0] == 0
    assert sorted(path.name for path in Path("dark").iterdir()) == ["rates-dark.png", "summary.txt"]
    code, out, _ = figures("--output", "more", "--figure", "reviewers", "--format", "csv")
    assert "No figure reviewers: no image, box or event has reviews of two reviewers" in out


def test_pictures_without_matplotlib_are_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda _name: None)
    with pytest.raises(BioclipError, match=r"bioclip-plugin\[train\].*--format csv"):
        writing.check_figures(tmp_path / "out", FigureOptions(), force=False)
    writing.check_figures(tmp_path / "out", FigureOptions(formats=("csv",)), force=False)
