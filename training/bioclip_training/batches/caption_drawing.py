"""Which caption a sample gets: one drawn a sample with set probabilities, of those that its taxon can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bioclip_core.captions import Caption, caption_of
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon


class CaptionDrawing:
    """Draws captions for taxa. Source: Stevens et al. 2024, section 3.2, but one draw a sample instead of one a batch."""

    def __init__(self, taxa: Sequence[Taxon], mix: Mapping[str, float]) -> None:
        """Every caption of ``mix`` with a share above 0 may be drawn.

        Raises:
            UsageError: for a caption that there is not, or if no share is above 0.
        """
        self._taxa = taxa
        self._mix = shares_of(mix)

    def check(self, taxa: Iterable[int]) -> None:
        """Make sure that each of these taxa can be captioned.

        Raises:
            SourceError: if one of them has no name at all.
        """
        if any(not possible_captions(self._taxa[taxon], self._mix) for taxon in taxa):
            raise SourceError(
                "there are samples without a name at any rank and without a common name, and nothing can be their caption; "
                "leave such rows out of the catalog"
            )

    def draw(self, taxon: int, chance: float) -> str:
        """The caption of ``taxa[taxon]`` that an evenly spread number from 0 to 1 picks.

        The shares of captions that would be degenerate go to the others; a taxon with none of them has its taxonomic one.
        """
        captions = possible_captions(self._taxa[taxon], self._mix)
        aim = chance * sum(share for _, share in captions)
        for caption, share in captions:
            aim -= share
            if aim < 0:
                return caption
        return captions[-1][0]


def possible_captions(taxon: Taxon, mix: Mapping[Caption, float]) -> list[tuple[str, float]]:
    """The captions that a taxon can get, each with its share (not renormalised); none for a taxon with no name at all."""
    found = [(text, share) for kind, share in mix.items() if (text := caption_of(taxon, kind)) is not None]
    if found:
        return found
    others = (caption_of(taxon, kind) for kind in (Caption.TAXONOMIC, Caption.COMMON))
    return [(text, 1.0) for text in others if text is not None][:1]


def all_captions(taxa: Iterable[Taxon], mix: Mapping[str, float]) -> list[str]:
    """Every caption that can be drawn for these taxa, each once, sorted: what a table of tokens must hold."""
    shares = shares_of(mix)
    return sorted({caption for taxon in taxa for caption, _ in possible_captions(taxon, shares)})


def shares_of(mix: Mapping[str, float]) -> dict[Caption, float]:
    """The captions with a share above 0, in the order of :class:`Caption`, so that the order of options changes nothing.

    Raises:
        UsageError: for a caption that there is not, or if no share is above 0.
    """
    allowed = [kind for kind in Caption if kind is not Caption.TEMPLATES]
    unknown = sorted(set(mix) - {kind.value for kind in allowed})
    shares: dict[Caption, float] = {kind: float(mix[kind.value]) for kind in allowed if mix.get(kind.value, 0.0) > 0}
    if unknown or not shares:
        raise UsageError(
            f"captions {dict(mix)}: allowed are {', '.join(kind.value for kind in allowed)}, one of them with a share above 0"
        )
    return shares


def duplicate_share(captions: Sequence[str]) -> float:
    """The share of a batch's captions, from 0 to 1, that repeat another one of it: what CLIP's loss takes for negatives."""
    return 1.0 - len(set(captions)) / len(captions) if captions else 0.0
