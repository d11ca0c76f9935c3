"""Names of rows against a map of names and against each other: bad lines of a map, near names, and the list of open names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.cells import plain_cells
from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.naming.options import NameOptions
from bioclip_training.catalog.naming.labelling import Labeller
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.catalog.naming.name_decisions import NameDecisions


def decisions(folder: Path, *lines: str) -> NameDecisions:
    (folder / "map.csv").write_text("\n".join(("written_name,map_to,family", *lines)), encoding="utf-8")
    return NameDecisions(NameOptions(name_map=folder / "map.csv"))


def spellings(**rows: int) -> Spellings:
    found = Spellings()
    for name, count in rows.items():
        for _ in range(count):
            found.add(name.replace("_", " "), "table")
    return found


def test_misspelt_names_of_a_map_are_refused_with_their_lines_and_the_name_that_is_meant(tmp_path: Path) -> None:
    names = decisions(tmp_path, "Fuchs,Vulpes vulpse,", "Dachs,Meles melles,", "Marder,Martes martes,")
    with pytest.raises(DataError) as error:
        Labeller(names=names).suspect(spellings(Vulpes_vulpes=20, Meles_meles=20))
    for part in ("line 2: 'Fuchs'", "two letters of Vulpes vulpes", "line 3: 'Dachs'", "two letters of Meles meles"):
        assert part in str(error.value)
    assert "Marder" not in str(error.value)
    right = decisions(tmp_path, "Fuchs,Vulpes vulpse,Canidae", "Dachs,Meles meles,")
    Labeller(names=right).suspect(spellings(Vulpes_vulpes=20, Meles_meles=20))


def test_all_bad_lines_of_a_map_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        decisions(tmp_path, "loup,plain,", "mouse,Mus fictus; Rattus falsus,", "fox,12345,")
    for part in ("line 2: 'loup'", "line 3: 'mouse'", "line 4: 'fox'"):
        assert part in str(error.value)


def test_near_names_without_a_much_more_frequent_one_are_kept_and_reported() -> None:
    names, findings = NameDecisions(), Findings()
    Labeller(names=names).suspect(spellings(Vulpes_vulpes=8, Vulpes_vulpis=3, Meles_meles=8))
    names.report(findings)
    assert list(findings.lines()) == [
        "names within two letters of another one are kept, since neither is much more frequent: 1 "
        "(the first: 'Vulpes vulpis' beside 'Vulpes vulpes')"
    ]


def test_every_row_with_a_written_name_and_no_taxon_is_in_the_map_with_its_reason() -> None:
    names = NameDecisions()
    for written in ("rufipes", "DCIM", "unidentifiable", "Meles meIes"):
        names.refuse(names.read(plain_cells({"species": written})), "a.jpg")
    names.refuse(names.read(plain_cells({"species": "NA"})), "a.jpg")
    assert list(names.undecided) == ["rufipes", "DCIM", "unidentifiable", "Meles meIes"]
    assert all(one.reason for one in names.undecided.values())
    assert names.undecided["Meles meIes"].suggestion == "Meles meles"


def test_a_word_alone_is_a_genus_if_another_row_has_a_species_of_it() -> None:
    names = NameDecisions()
    assert names.read(plain_cells({"scientificName": "Zwergit"})).taxon.rank is None
    names.learn(names.read(plain_cells({"genus": "Zwergit", "specificEpithet": "fictus"})))
    assert names.read(plain_cells({"scientificName": "Zwergit"})).taxon.genus == "Zwergit"


@pytest.mark.parametrize(
    "cell", ["inconnu", "Unknown bird", "Felis silvestris or catus", "IMG", "unidentifiable", "n.a."]
)
def test_plain_labels_are_tested_for_verdicts_several_names_and_folders(cell: str) -> None:
    names = NameDecisions(NameOptions(plain_labels=True))
    assert names.read(plain_cells({"species": cell})).taxon.rank is None
    assert not names.read(plain_cells({"species": cell})).taxon.is_plain
