"""Two sources whose own splits contradict each other: refused with both, or decided by the option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from catalog_samples import LYNX, MOTH, build, save, source_of

from bioclip_core.errors import DataError
from bioclip_training.catalog.sources import LabelledSource


def two(folder: Path, *, a: list[tuple[str, str]], b: list[tuple[str, str]]) -> list[LabelledSource]:
    """Return two tables of pairs of group and split."""
    save(folder, *range(len(a) + len(b)))
    rows = [
        {"image": f"{number}.png", **(LYNX if number % 2 else MOTH), "eventID": group, "split": split}
        for number, (group, split) in enumerate([*a, *b])
    ]
    return [source_of(folder, rows[: len(a)], name="a.csv"), source_of(folder, rows[len(a) :], name="b.csv")]


CLASHING = {
    "a": [("e1", "train"), ("e1", "train"), ("e2", "val"), ("e3", "train")],
    "b": [("e1", "test"), ("e2", "train"), ("e4", "train"), ("e2", "val")],
}


def test_a_group_that_is_trained_on_here_and_held_out_there_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        build(tmp_path, *two(tmp_path, **CLASHING), group_by="eventID")
    said = str(refused.value)
    assert "the group 'e1' is in 'train' in a.csv (first: 0.png) and in 'test' in b.csv (first: 4.png)" in said
    assert "1 other group is so too (e2)" in said
    assert "--clashing-splits held-out" in said
    assert not (tmp_path / "work" / "draft.parquet").exists()  # before any image was read


def test_rows_of_a_clashing_group_are_held_out_if_asked(tmp_path: Path) -> None:
    catalog, built = build(tmp_path, *two(tmp_path, **CLASHING), group_by="eventID", clashing_splits="held-out")
    splits = dict(zip(catalog.column("uri"), catalog.column("split"), strict=True))
    assert [splits[f"{number}.png"] for number in range(8)] == [
        "test",
        "test",
        "val",
        "train",
        "test",
        "val",
        "train",
        "val",
    ]
    assert built.facts["moved_to_held_out"] == 3
    assert built.facts["groups_on_both_sides"] == 0


def test_clashing_splits_stay_as_they_are_if_asked_and_are_counted(tmp_path: Path) -> None:
    catalog, built = build(tmp_path, *two(tmp_path, **CLASHING), group_by="eventID", clashing_splits="keep")
    assert catalog.column("split") == [word for _, word in [*CLASHING["a"], *CLASHING["b"]]]
    assert (built.facts["moved_to_held_out"], built.facts["groups_on_both_sides"]) == (0, 2)


def test_a_source_that_has_a_group_on_both_of_its_own_sides_is_taken_at_its_word(tmp_path: Path) -> None:
    own = [("e1", "train"), ("e1", "val"), ("e2", "train")]
    catalog, built = build(tmp_path, *two(tmp_path, a=own, b=[("e4", "train")]), group_by="eventID")
    assert catalog.column("split") == ["train", "val", "train", "train"]
    assert built.facts["groups_on_both_sides"] == 1


def test_a_source_without_splits_follows_the_other_one(tmp_path: Path) -> None:
    sources = two(tmp_path, a=[("e1", "val"), ("e2", "train")], b=[("e1", ""), ("e2", ""), ("e3", "")])
    catalog, _ = build(tmp_path, *sources, group_by="eventID", val=0.0)
    assert catalog.column("split") == ["val", "train", "val", "train", "train"]


def test_dev_of_one_source_and_train_of_another_clash_too(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=re.escape("'train' in b.csv (first: 1.png) and in 'dev' in a.csv (first: 0.png)")
    ):
        build(tmp_path, *two(tmp_path, a=[("e1", "dev")], b=[("e1", "train")]), group_by="eventID")
