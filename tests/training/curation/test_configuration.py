"""The configuration of a curation: the file, its checks, and the example."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from bioclip_core.errors import UsageError
from bioclip_core.options import help_of
from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.configuration_file import example, read_configuration


def read(folder: Path, text: str) -> Curation:
    file = folder / "c.yaml"
    file.write_text(text)
    return read_configuration(file)


def sections(kind: type, place: str = "") -> list[str]:
    """Return the path of every field that a configuration may have."""
    found = []
    for entry in fields(kind):  # type: ignore[arg-type]
        where = f"{place}{entry.name}"
        hint = get_type_hints(kind)[entry.name]
        inner = next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)
        found += [where, *(sections(inner, f"{where}.") if isinstance(inner, type) else [])]
    return found


def test_every_field_has_a_help_and_is_in_the_example() -> None:
    text = example()
    for path in sections(Curation):
        name = path.rpartition(".")[2]
        assert f"{name}:" in text
    for kind in {
        Curation,
        *(part for hint in get_type_hints(Curation).values() for part in (hint, *get_args(hint)) if is_dataclass(part)),
    }:
        assert set(help_of(kind)) == {entry.name for entry in fields(kind)}  # type: ignore[arg-type]


def test_the_example_is_a_configuration_with_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, example()) == Curation(
        tmp_path / "tree_of_life", {"inat21": SourceConfig(tmp_path / "collections/inat21", "inat21")}
    )


def test_every_line_of_the_example_can_be_put_in_force(tmp_path: Path) -> None:
    # a line of prose has blanks before its first colon, or none
    in_force = re.sub(r"^( *)# ( *)(?=(?:# |[a-z0-9_]+:(?: |$)))", r"\1\2", example(), flags=re.M)
    in_force = in_force.replace("threads:  # one per core", "threads: 2").replace("precedence: []", "")
    config = read(tmp_path, in_force)
    assert config.threads == 2
    assert config.taxonomy == tmp_path / "checklist.taxonomy"
    assert config.filters["empty"].exclude_from == 0.9
    assert config.evaluation_sets["rare_species"].taxa == "exclude"
    assert config.sources["inat21"].rows == 2_686_843


SOURCES = "output: out\nsources:\n  a: {path: x}\n  b: {path: y}\n"


def test_the_order_of_sources_is_that_of_their_names_unless_it_is_stated(tmp_path: Path) -> None:
    assert read(tmp_path, SOURCES).ranked_sources == ("a", "b")
    assert read(tmp_path, SOURCES + "precedence: [b, a]").ranked_sources == ("b", "a")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("precedence: [b]", "precedence lacks a: list every source once"),
        ("precedence: [b, a, b]", "precedence has a source twice"),
        ("precedence: [b, aa]", r"precedence names 'aa', which is not a source; the sources are a, b"),
        ("kinds: {by_source: {bb: camera trap}}", "kinds.by_source names 'bb', which is not a source"),
        ("splits: {vall: 0.1}", r"splits.vall is not known; did you mean val\?"),
        ("splits: {val: 2}", "c.yaml: splits.val 2: allowed are 0 to 0.9"),
        ("memory: 1 MB", "memory 1000000 bytes: allowed are sizes from 256.0 MB, with a unit, such as 4 GB"),
        ("source: {}", r"source is not known; did you mean sources\?"),
        ("seed: 0\nseed: 1", "'seed' is given twice"),
        ("evaluation_sets: {nabirds: {path: z, taxa: drop}}", "evaluation_sets.nabirds.taxa 'drop': allowed are exclude, report"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read(tmp_path, SOURCES + more)


def test_a_configuration_without_sources_or_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sources is missing"):
        read(tmp_path, "output: out")
    with pytest.raises(UsageError, match="sources is empty: give at least one collection"):
        read(tmp_path, "output: out\nsources: {}")
    with pytest.raises(UsageError, match=r"does not exist; write one with: bioclip-plugin curate .*no.yaml --example"):
        read_configuration(tmp_path / "no.yaml")


def test_a_language_that_yaml_1_1_takes_for_a_truth_is_a_language(tmp_path: Path) -> None:
    assert read(tmp_path, SOURCES + "names: {languages: [no, en]}").names.languages == ("no", "en")


def test_the_example_is_yaml_for_other_programs_too() -> None:
    assert yaml.safe_load(example())["output"] == "tree_of_life"
