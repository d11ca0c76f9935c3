"""The caption of a sample: drawn per sample with fixed probabilities, among those that its taxon can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from bioclip_core.captions import Caption, caption_of
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon

CaptionSource = Literal["taxonomy", "published"]
"""Where the captions of published shards come from: their names, or the captions in them."""
PUBLISHED: CaptionSource = "published"


class CaptionDrawing:
    """Random captions for taxa. Source: Stevens et al. 2024, section 3.2, but with one draw per sample instead of per batch."""

    def __init__(self, taxa: Sequence[Taxon], mix: Mapping[str, float]) -> None:
        """Prepare the captions of ``mix`` with a share above 0.

        Raises:
            UsageError: as :func:`shares_of`.
        """
        self._taxa, self._shares = taxa, shares_of(mix)

    def check(self, taxa: Iterable[int]) -> None:
        """Check that each of these taxa, given by number, has a caption.

        Raises:
            SourceError: if one of them is without a name.
        """
        if not all(_possible_captions(self._taxa[taxon], self._shares) for taxon in taxa):
            raise SourceError(
                "there are samples without a name at any rank and without a common name, and nothing can be their caption; "
                "leave such rows out of the catalog"
            )

    def draw(self, taxon: int, chance: float) -> str:
        """Return the caption of ``taxa[taxon]`` that an evenly distributed number from 0 to 1 picks.

        The shares of captions that would be degenerate go to the others; a taxon without any of them has its taxonomic one.
        """
        captions = _possible_captions(self._taxa[taxon], self._shares)
        aim = chance * sum(share for _, share in captions)
        for caption, share in captions:
            aim -= share
            if aim < 0:
                return caption
        return captions[-1][0]


def _possible_captions(taxon: Taxon, mix: Mapping[Caption, float]) -> list[tuple[str, float]]:
    """Return the captions of a taxon, each with its share (not renormalised); none for a taxon without any name."""
    found = [(text, share) for kind, share in mix.items() if (text := caption_of(taxon, kind)) is not None]
    others = (caption_of(taxon, kind) for kind in (Caption.TAXONOMIC, Caption.COMMON))
    return found or [(text, 1.0) for text in others if text is not None][:1]


def all_captions(taxa: Iterable[Taxon], mix: Mapping[str, float]) -> list[str]:
    """Return every caption that can be drawn for these taxa, each once, sorted: the content of a table of tokens."""
    shares = shares_of(mix)
    return sorted({caption for taxon in taxa for caption, _ in _possible_captions(taxon, shares)})


def shares_of(mix: Mapping[str, float]) -> dict[Caption, float]:
    """Return the captions with a share above 0, in the order of :class:`Caption`, whatever the order of the options.

    Raises:
        UsageError: for an unknown caption or a share below 0, or if no share is above 0.
    """
    allowed = [kind for kind in Caption if kind is not Caption.TEMPLATES]
    shares: dict[Caption, float] = {kind: float(mix[kind.value]) for kind in allowed if mix.get(kind.value)}
    if not set(mix) <= set(allowed) or not shares or min(shares.values()) < 0:
        raise UsageError(
            f"captions {dict(mix)}: allowed are {', '.join(allowed)}, each with a share of 0 or more, one above 0"
        )
    return shares


def duplicate_share(captions: Sequence[str]) -> float:
    """Return the share of a batch's captions, 0 to 1, that repeat another one: false negatives of CLIP's loss."""
    return 1.0 - len(set(captions)) / len(captions) if captions else 0.0
