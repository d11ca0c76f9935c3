"""Drawing of captions: their kinds and frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.caption_drawing import CaptionDrawing, all_captions, duplicate_share

NAMED = Taxon.of(["Animalia", "", "", "", "", "Fictus", "rufus"], "red fictus")
PLAIN = Taxon.of(["Animalia", "", "", "", "", "Fictus", "viridis"])
MIX = {"taxonomic": 0.5, "scientific": 0.25, "common": 0.25}


def test_the_number_drawn_picks_the_caption_by_the_shares() -> None:
    drawing = CaptionDrawing([NAMED], MIX)
    # in the order scientific 0.25, common 0.25, taxonomic 0.5
    assert drawing.draw(0, 0.0) == "a photo of Fictus rufus."
    assert drawing.draw(0, 0.2499) == "a photo of Fictus rufus."
    assert drawing.draw(0, 0.25) == "a photo of red fictus."
    assert drawing.draw(0, 0.5) == "a photo of Animalia Fictus rufus."
    assert drawing.draw(0, 0.9999999) == "a photo of Animalia Fictus rufus."


def test_the_share_of_a_caption_that_a_taxon_lacks_goes_to_the_others() -> None:
    drawing = CaptionDrawing([PLAIN], MIX)  # without a common name: 0.25 and 0.5 of 0.75
    chances = (np.arange(3000) + 0.5) / 3000
    drawn = [drawing.draw(0, chance) for chance in chances]
    assert drawn.count("a photo of Fictus viridis.") == 1000
    assert drawn.count("a photo of Animalia Fictus viridis.") == 2000


def test_the_order_in_which_the_mix_is_written_changes_nothing() -> None:
    one, other = CaptionDrawing([NAMED], MIX), CaptionDrawing([NAMED], dict(reversed(MIX.items())))
    assert [one.draw(0, n / 50) for n in range(50)] == [other.draw(0, n / 50) for n in range(50)]


def test_a_taxon_with_no_caption_of_the_mix_has_its_taxonomic_one_or_its_common_name() -> None:
    custom = Taxon(common_name="a blank photo")
    drawing = CaptionDrawing([PLAIN, custom], {"common": 1.0})
    assert drawing.draw(0, 0.7) == "a photo of Animalia Fictus viridis."
    assert CaptionDrawing([custom], {"taxonomic": 1.0}).draw(0, 0.7) == "a photo of a blank photo."


def test_a_sample_without_any_name_is_refused_before_training() -> None:
    drawing = CaptionDrawing([NAMED, Taxon()], MIX)
    drawing.check([0])
    with pytest.raises(SourceError, match="without a name"):
        drawing.check([0, 1])


def test_all_captions_are_those_that_can_be_drawn_each_once() -> None:
    mix = {"scientific": 0.5, "scientific_common": 0.5, "common": 0.0}
    assert all_captions([NAMED, PLAIN, NAMED, Taxon()], mix) == [
        "a photo of Fictus rufus with common name red fictus.",
        "a photo of Fictus rufus.",
        "a photo of Fictus viridis.",
    ]


@pytest.mark.parametrize("mix", [{}, {"taxonomic": 0.0}, {"latin": 1.0, "taxonomic": 1.0}, {"templates": 1.0}])
def test_a_mix_that_cannot_be_drawn_from_is_refused_with_the_allowed_captions(mix: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="taxonomic_common"):
        CaptionDrawing([NAMED], mix)


def test_the_share_of_duplicates_counts_captions_that_repeat_another() -> None:
    assert duplicate_share(["a", "b", "a", "a"]) == 0.5
    assert duplicate_share(["a", "b"]) == 0.0
    assert duplicate_share([]) == 0.0
