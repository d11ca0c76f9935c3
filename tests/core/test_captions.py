"""Captions: the sentences that a text tower reads."""

from __future__ import annotations

import pytest

from bioclip_core.captions import Caption, caption_of, captions_for_labels, templates
from bioclip_core.taxonomy import Taxon

MAPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "palmatum", "Japanese maple"
)
TAXONOMIC = "Plantae Tracheophyta Magnoliopsida Sapindales Sapindaceae Acer palmatum"


@pytest.mark.parametrize(
    ("kind", "caption"),
    [
        (Caption.SCIENTIFIC, "a photo of Acer palmatum."),
        (Caption.COMMON, "a photo of Japanese maple."),
        (Caption.TAXONOMIC, f"a photo of {TAXONOMIC}."),
        (Caption.SCIENTIFIC_COMMON, "a photo of Acer palmatum with common name Japanese maple."),
        (Caption.TAXONOMIC_COMMON, f"a photo of {TAXONOMIC} with common name Japanese maple."),
    ],
)
def test_the_five_captions_are_written_as_bioclip_was_trained_on_them(kind: Caption, caption: str) -> None:
    assert caption_of(MAPLE, kind) == caption
    assert captions_for_labels(MAPLE, kind) == [caption]


def test_a_caption_that_would_be_degenerate_is_none() -> None:
    nameless = Taxon.of(MAPLE.lineage)
    for kind in (Caption.COMMON, Caption.SCIENTIFIC_COMMON, Caption.TAXONOMIC_COMMON):
        assert caption_of(nameless, kind) is None
        assert captions_for_labels(nameless, kind) == [f"a photo of {TAXONOMIC}."]
    assert caption_of(Taxon(common_name="empty"), Caption.TAXONOMIC) is None


def test_a_common_name_that_repeats_the_scientific_name_is_written_once() -> None:
    same = Taxon.of(MAPLE.lineage, "acer palmatum")
    assert caption_of(same, Caption.SCIENTIFIC_COMMON) is None
    assert caption_of(same, Caption.TAXONOMIC_COMMON) is None
    assert captions_for_labels(same, Caption.TAXONOMIC_COMMON) == [f"a photo of {TAXONOMIC}."]
    assert caption_of(same, Caption.COMMON) == "a photo of acer palmatum."


def test_a_hole_in_the_lineage_leaves_no_double_space() -> None:
    assert caption_of(Taxon("Animalia", "", "Mammalia")) == "a photo of Animalia Mammalia."


def test_a_custom_label_is_read_in_its_own_words() -> None:
    assert captions_for_labels(Taxon(common_name="empty")) == ["a photo of empty."]


def test_there_are_81_different_templates_and_each_holds_the_name_once() -> None:
    assert len(set(templates())) == 81
    assert templates()[0] == "a photo of {}."
    captions = captions_for_labels(MAPLE, Caption.TEMPLATES)
    assert len(captions) == 81
    assert all(caption.count(TAXONOMIC) == 1 for caption in captions)
    assert "a blurry photo of the {}.".format(TAXONOMIC) in captions  # noqa: UP032 - as the template stands
