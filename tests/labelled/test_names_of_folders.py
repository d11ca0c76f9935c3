"""Folders whose names are not taxa: refused with their kind, never an invented genus."""

from __future__ import annotations

import pytest

from bioclip_core.cells import plain_cells
from bioclip_plugin.labelled.sources import taxon_of_folders
from bioclip_training.catalog.naming.names import cleaned


@pytest.mark.parametrize(
    ("folders", "kind"),
    [
        (["Blank"], "word for a verdict"), (["Human"], "word for a verdict"), (["Vehicle"], "word for a verdict"),
        (["Setup"], "word for a verdict"), (["Fox; Badger"], "several names"), (["Deer"], "common name"), (["Red_fox"], "common name"),
        (["OTU_12"], "number or code"), (["Vulpes_vulpes", "empty"], "word for a verdict"), (["Mammals", "Fox"], "common name"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_named_by_a_taxon_labels_nothing(folders: list[str], kind: str) -> None:
    label = cleaned(plain_cells(taxon_of_folders(folders)))
    assert label.taxon.rank is None
    assert label.fault is not None
    assert label.fault.kind.value == kind


@pytest.mark.parametrize(
    "folders",
    [
        ["Mammals", "Vulpes vulpes"],
        ["Vulpes", "vulpes"],
        ["train", "Vulpes_vulpes", "site 1"],
        ["Vulpes_vulpes", "test"],
    ],
)
def test_a_taxon_below_or_above_other_folders_is_found(folders: list[str]) -> None:
    label = cleaned(plain_cells(taxon_of_folders(folders)))
    assert (label.taxon.scientific_name, label.fault) == ("Vulpes vulpes", None)


@pytest.mark.parametrize(
    ("folder", "changes"),
    [
        ("Vulpes vulpes (Linnaeus, 1758)", ("authority '(Linnaeus, 1758)' removed",)),
        ("Vulpes vulpes (2)", ("remark '(2)' removed",)),
        ("Vulpes_vulpes_2", ("remark '2' removed",)),
        ("Vulpes vulpes - Kopie", ("remark '- Kopie' removed",)),
    ],
)
def test_authors_and_marks_of_copies_in_a_folder_name_are_removed(folder: str, changes: tuple[str, ...]) -> None:
    label = cleaned(plain_cells(taxon_of_folders([folder])))
    assert (label.taxon.scientific_name, label.changes) == ("Vulpes vulpes", changes)


@pytest.mark.parametrize(
    "folders",
    [["DCIM", "100EK113"], ["CAM_A"], ["May"], ["Export", "todo"], ["Standort", "nord"], ["Zwischenstand"], ["kuusi"], ["Site 3 north"]],
)  # fmt: skip
def test_folders_of_cameras_heaps_and_places_are_to_decide_and_no_genera(folders: list[str]) -> None:
    label = cleaned(plain_cells(taxon_of_folders(folders)))
    assert label.taxon.rank is None
    assert label.verbatim
    assert label.why_unread


@pytest.mark.parametrize(
    ("folders", "name"),
    [(["Quercus"], "Quercus"), (["Export", "Quercus"], "Quercus"), (["Vulpes", "DCIM"], "Vulpes"), (["Vulpes", "check"], "Vulpes"),
     (["Passer", "2024"], "Passer"), (["Mustelidae"], "Mustelidae")],
)  # fmt: skip
def test_a_genus_alone_is_a_folder_name_too(folders: list[str], name: str) -> None:
    assert cleaned(plain_cells(taxon_of_folders(folders))).taxon.scientific_name == name
