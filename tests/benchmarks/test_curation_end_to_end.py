"""A rendering with its dirt through the whole of ``curate``, scored against its truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from quick_drawings import quick_drawings

from benchmarks.curation import duplicates, labels, leaks
from benchmarks.curation.joined import Joined, join
from bioclip_training.biosphere.publishing.dirt import load
from bioclip_training.biosphere.publishing.rendering import render
from bioclip_training.curation.configuration_file import read_configuration
from bioclip_training.curation.running import run_stages
from bioclip_training.curation.stage_list import stages
from bioclip_training.taxonomy.build import build_taxonomy

IMAGES = 400


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    folder = tmp_path_factory.mktemp("dirty") / "rendered"
    with quick_drawings():
        render(folder, seed=52, images=IMAGES, processes=1)
    build_taxonomy(folder / "taxonomy", folder / "taxonomy.sqlite")
    config = replace(read_configuration(folder / "curate.yaml"), threads=1)
    run_stages(config, stages(), until="catalog")
    return join(folder, folder / "curated")


def test_every_record_of_every_source_is_in_the_catalog(joined: Joined) -> None:
    assert joined.not_curated == ()
    assert joined.extra == []
    lost = [one for one in joined.told if one.said is None and one.true["recoverable"]]
    assert [one.true["uri"] for one in lost] == []
    assert {one.true["source"] for one in joined.known()} == set(load().shares)


def test_labels_of_recoverable_records_are_right(joined: Joined) -> None:
    found = labels.recoverable(joined)
    assert found.records > 0.9 * IMAGES
    assert found.precision >= 0.99, found.examples
    assert found.recall >= 0.99, found.examples
    assert found.lineages == found.right


def test_planted_duplicates_are_found(joined: Joined) -> None:
    exact, near = duplicates.exact(joined), duplicates.near(joined)
    assert exact.planted >= 3
    assert exact.recall == 1.0, exact.examples
    assert near.planted > exact.planted
    assert near.recall >= 0.95, near.examples
    assert duplicates.false_drops(joined) == []


def test_no_planted_leak_is_left(joined: Joined) -> None:
    found = leaks.leaks(joined)
    assert {name.partition(": ")[2] for name, one in found.items() if one.planted} >= {
        "image",
        "near",
        "observation",
        "taxon",
    }
    assert {name: one.examples for name, one in found.items() if one.left > one.hidden} == {}
