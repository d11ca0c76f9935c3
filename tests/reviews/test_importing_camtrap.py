"""The human observations of the official Camtrap DP example, imported beside its images."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.review_rows import NotTaken
from bioclip_plugin.reviews.importing import NO_IMAGE, ImportOptions, import_reviews
from bioclip_plugin.reviews.names import NameBook, StoredNames
from bioclip_plugin.running.listing import source_of
from bioclip_plugin.store import RunPlan, Store

PLAN = RunPlan(
    sources=("p",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={},
)  # fmt: skip


@pytest.mark.shared_data
def test_every_observation_of_the_official_example_is_imported_once(tmp_path: Path) -> None:
    package = str(Path(os.environ["BIOCLIP_DATA"]) / "data" / "camtrap_dp_example" / "datapackage.json")
    sources = create_plugin_manager(installed=False).sources()
    with Store.open(tmp_path / "results.db") as store:
        refused: list[NotTaken] = []
        book = NameBook(StoredNames(store))
        before = import_reviews(package, store, sources, book, ImportOptions(), refused.append)
        assert before.rows == before.new + before.refusals == 527
        assert set(before.refused) == {NO_IMAGE}  # nothing is listed yet; observations of events do not need an image
        assert len(refused) == before.refusals
        items = list(source_of(package, sources).items(package, ListingOptions()))
        store.list_items(store.begin_run(PLAN), items, [None] * len(items))
        after = import_reviews(package, store, sources, book, ImportOptions(), refused.append)
        assert (after.new, after.there, after.refusals) == (before.refusals, before.new, 0)
        kinds = Counter((review.target.kind, review.verdict) for review in store.reviews())
    assert sum(kinds.values()) == 527
    assert kinds["media", "blank"] == 112
    assert kinds["media", "person"] == 33
    assert kinds["media", "vehicle"] == 20
