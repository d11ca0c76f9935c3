"""The kinds of dirt of the published renderings: what the file says, and its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bioclip_training.biosphere.publishing.dirt import Dirt, Kind, load


def test_at_most_five_percent_of_the_records_are_unrecoverable_by_design() -> None:
    dirt = load()
    assert dirt.unrecoverable_at_most == 0.05
    assert 0.02 < dirt.unrecoverable_share() < 0.05


def test_every_kind_has_its_example_its_source_and_formats_that_are_rendered() -> None:
    dirt = load()
    assert len(dirt.kinds) > 50
    for kind in dirt.kinds.values():
        assert kind.written, kind.name
        assert kind.true, kind.name
        assert kind.origin, kind.name
        assert set(kind.formats) <= dirt.shares.keys(), kind.name


def test_what_is_unrecoverable_leaves_no_species_and_what_is_recoverable_does() -> None:
    for kind in load().kinds.values():
        assert (kind.leaves == "species") == kind.is_recoverable, kind.name


def test_the_expected_share_counts_a_kind_by_its_formats_and_pairs_twice() -> None:
    lost = Kind("lost", "name", 0.1, ("a",), "nothing", "genus", "x", "y", "z")
    found = replace(lost, name="found", recovered="itself", leaves="species")
    pair = replace(lost, name="conflicting_labels", rate=0.02, formats=("a", "b"))
    dirt = Dirt({"a": 0.25, "b": 0.75}, {kind.name: kind for kind in (lost, found, pair)}, 0.05)
    assert dirt.unrecoverable_share() == pytest.approx(0.1 * 0.25 + 0.02 * 2)
    assert [kind.name for kind in dirt.of("name", "b")] == ["conflicting_labels"]


def test_a_kind_with_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="group 'names' is none of"):
        Kind("lost", "names", 0.1, ("a",), "nothing", "genus", "x", "y", "z")
