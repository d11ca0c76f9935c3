"""Searching a label set for parts of names."""

from __future__ import annotations

import numpy as np
import pytest
from core_samples import ENCODER

from bioclip_core.labels.checklist import find_labels
from bioclip_core.labels.label_set import Block, in_memory
from bioclip_core.taxonomy import Taxon


@pytest.mark.parametrize("text", ["ACER", "pĹ", "É", "é.b", "b (", "ı", "%", "_", "x", ".*"])
def test_a_part_of_a_name_is_found_as_it_stands_in_any_letter_case(text: str) -> None:
    names = ["Érable.b (du)", "acer pĹane", "ACER", "ıslak", "100% _x", "Maple"]
    taxa = [Taxon.of(["", "", "", "", "", "Zamia", f"nova-{n}"], name) for n, name in enumerate(names)]
    labels = in_memory(taxa, np.eye(len(names), dtype=np.float16), ENCODER, [Block(0, len(names), "text", 1.0)])
    found = [labels.taxon(row).common_name for level, row, _ in find_labels(labels, text) if level == "species"]
    assert sorted(found) == sorted(name for name in names if text.lower() in name.lower())
