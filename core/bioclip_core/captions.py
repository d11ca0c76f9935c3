"""The sentences for text towers: BioCLIP's five captions, and the 81 prompt templates."""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from bioclip_core.taxonomy import Taxon


class Caption(StrEnum):
    """The five captions that BioCLIP is trained on, and ``templates``, the mean over 81 prompts."""

    SCIENTIFIC = "scientific"
    COMMON = "common"
    TAXONOMIC = "taxonomic"
    SCIENTIFIC_COMMON = "scientific_common"
    TAXONOMIC_COMMON = "taxonomic_common"
    TEMPLATES = "templates"


def caption_of(taxon: Taxon, kind: Caption = Caption.TAXONOMIC) -> str | None:
    """Return one caption of a taxon, or None if it would be degenerate (a name is missing, or both names are the same).

    Source: Stevens et al. 2024, section 3.2. "X with common name X" is never made.
    """
    scientific, taxonomic, common = taxon.scientific_name, taxon.taxonomic_name, taxon.common_name
    if kind is Caption.COMMON:
        return f"a photo of {common}." if common else None
    name = scientific if kind in (Caption.SCIENTIFIC, Caption.SCIENTIFIC_COMMON) else taxonomic
    if not name:
        return None
    if kind in (Caption.SCIENTIFIC_COMMON, Caption.TAXONOMIC_COMMON):
        repeated = common.lower() in ("", scientific.lower(), taxonomic.lower())
        return None if repeated else f"a photo of {name} with common name {common}."
    return f"a photo of {name}."


def captions_for_labels(taxon: Taxon, kind: Caption = Caption.TAXONOMIC) -> list[str]:
    """Return the captions whose mean is a taxon's embedding in a label set: one, or 81 for ``templates``.

    So that every label has an embedding, a taxon without the name for ``kind`` gets its taxonomic caption, and a custom
    label (without a lineage) its own words.
    """
    if kind is Caption.TEMPLATES:
        return [template.format(taxon.taxonomic_name or taxon.common_name) for template in templates()]
    return [caption_of(taxon, kind) or caption_of(taxon) or f"a photo of {taxon.common_name}."]


@cache
def templates() -> tuple[str, ...]:
    """Return the 81 prompts of the BioCLIP papers as format strings: ``a photo of {}.`` and OpenAI's 80 for ImageNet."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return ("a photo of {}.", *(template("{}") for template in OPENAI_IMAGENET_TEMPLATES))
