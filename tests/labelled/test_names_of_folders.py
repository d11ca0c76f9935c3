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
