"""Columns of a run, their tree of taxa, and the names of items in addresses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_columns import FELIDAE, FOX, HOLED, LYNX, MOTH, PLANT, TAXA, made_columns, many_columns

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.browsing.keys import ItemKey, parse_key
from bioclip_plugin.browsing.tree import tree_of


def test_each_taxon_is_followed_by_all_below_it_and_by_no_other() -> None:
    nodes = tree_of({place: (taxon, str(taxon.rank)) for place, taxon in enumerate(TAXA)}).nodes
    below = {
        node.key: {other.name for other in nodes[node.first + 1 : node.stop] if other.rank == "species"}
        for node in nodes
    }
    assert below["Animalia/Chordata/Mammalia/Carnivora/Felidae"] == {"Lynx fictus", "Felis fictilis"}
    assert below["Animalia/Chordata"] == {"Lynx fictus", "Felis fictilis", "Vulpes ficta"}
    assert below["Animalia"] == {"Lynx fictus", "Felis fictilis", "Vulpes ficta", "Oenanthe alba", "Fabula prima"}
    assert below["Plantae"] == {"Oenanthe alba"}
    assert [node.first for node in nodes] == list(range(len(nodes)))
    for node in nodes:
        inside = [one for one in nodes if one.first <= node.first < one.stop and one is not node]
        assert node.parent == max((one.first for one in inside), default=-1)


def test_hemihomonyms_have_keys_and_nodes_of_their_own() -> None:
    tree = tree_of({1: (MOTH, "species"), 2: (PLANT, "species")})
    one, other = tree.nodes[tree.numbers[1]], tree.nodes[tree.numbers[2]]
    assert one.name == other.name == "Oenanthe alba"
    assert one.key != other.key


def test_a_taxon_with_holes_is_below_its_nearest_named_ancestor() -> None:
    tree = tree_of({1: (HOLED, "species"), 2: (FOX, "species")})
    node = tree.nodes[tree.numbers[1]]
    assert node.key == "Animalia////Fabulidae/Fabula/prima"
    genus = tree.nodes[node.parent]
    family = tree.nodes[genus.parent]
    assert (genus.name, family.name, tree.nodes[family.parent].name) == ("Fabula", "Fabulidae", "Animalia")


def test_partial_lineages_of_one_taxon_are_one_node() -> None:
    """A review may name a species with its genus alone."""
    short = Taxon(genus="Lynx", species="fictus")
    tree = tree_of({1: (LYNX, "species"), 2: (short, "species"), 3: (FELIDAE, "family")})
    assert tree.numbers[1] == tree.numbers[2]
    assert tree.nodes[tree.numbers[1]].common_name == "invented lynx"


def test_words_of_custom_labels_are_nodes_without_a_lineage_and_their_keys_are_safe_in_addresses() -> None:
    words = Taxon(common_name="a dog/cat 100%")
    tree = tree_of(
        {1: (words, "label"), 2: (words, "group"), 3: (LYNX, "species"), 4: (Taxon.plain("a dog"), "species")}
    )
    keys = {number: tree.nodes[place].key for number, place in tree.numbers.items()}
    assert keys[1] == "label:a dog%2Fcat 100%25"
    assert keys[2] == "group:a dog%2Fcat 100%25"
    assert len(set(keys.values())) == 4
    assert [tree.nodes[tree.numbers[number]].parent for number in (1, 2, 4)] == [-1, -1, -1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1-2",
        "1-2-3-4",
        "0-1-1",
        "1-0-1",
        "-1-2-3",
        "1-2-03",
        "1-2-3 ",
        "1-2-٣",
        "1-2-" + "9" * 30,
        "../etc-1-2",
    ],
)
def test_a_text_that_names_no_item_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="1-42-7"):
        parse_key(text)
    assert parse_key(str(ItemKey(3, 120, 0))) == ItemKey(3, 120, 0)


def test_hours_and_days_follow_the_clock_of_the_place_before_1970_too() -> None:
    columns = made_columns([{"at": "1969-12-31T23:59:59"}, {"at": "2026-05-01T00:00:00"}, {}])
    assert columns.hours.tolist() == [23, 0, -1]
    assert columns.days.tolist() == [-1, 20_574, np.iinfo(np.int32).min]


def test_a_row_counts_as_the_taxon_of_its_review() -> None:
    rows = [{"taxon": LYNX}, {"taxon": LYNX, "review": 0}, {"taxon": LYNX, "review": 1}, {}]
    columns = made_columns(rows, [{"taxon": FOX}, {"verdict": "blank"}])
    names = [columns.taxa[number].name if number >= 0 else "" for number in columns.current_taxa]
    assert names == ["Lynx fictus", "Vulpes ficta", "", ""]
    assert made_columns(rows[:1]).current_taxa.tolist() == made_columns(rows[:1]).taxon_N.tolist()


def test_arrays_of_another_type_or_length_are_refused() -> None:
    columns = many_columns(20)
    with pytest.raises(ValueError, match="rank_N"):
        replace(columns, rank_N=columns.rank_N.astype(np.int64))
    with pytest.raises(ValueError, match="event_N"):
        replace(columns, event_N=columns.event_N[:-1])
