"""Identifiers in our archives: the same specimen, image and answer have the same one in every export."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.darwin_core.terms import stated_in, text_of

# Made once for this purpose; every identifier that we derive depends on it.
_NAMESPACE = uuid.UUID("b0c11b1e-6d0e-5c1a-9c55-3f1f0f7a2a11")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])$")


def derived(*parts: Any) -> str:
    """Return a UUID (version 5) of these parts; equal parts give the same one."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=True, sort_keys=True, default=str)))


def known_occurrence(metadata: Mapping[str, Any]) -> str | None:
    """Return the collection's own id of the specimen: ``occurrenceID``, else institution, collection and catalogue number."""
    if stated := text_of(stated_in(metadata, "occurrenceID")):
        return stated
    parts = [text_of(stated_in(metadata, term)) for term in ("institutionCode", "collectionCode", "catalogNumber")]
    return ":".join(filter(None, parts)) if parts[-1] else None


def media_id(uri: str, frame: int, box: tuple[int, ...] | None) -> str:
    """Return the id of an image, or of a region of it."""
    return f"urn:uuid:{derived('media', uri, frame, box)}"


def model_key(export: Export) -> list[Any]:
    """Return the settings that tell one model's answers from another's: weights, labels and prior; not thresholds or versions."""
    answers, features = export.run.answer_settings, export.run.feature_settings
    labels = {name: answers[name] for name in ("label_set", "words", "groups", "prior") if answers.get(name)}
    return [features.get("weights_sha256", ""), labels]


def person_address(reviewer: str) -> str:
    """Return the address of a person who is named by an ORCID iD; empty for others."""
    match = _ORCID.search(reviewer.strip())
    return f"https://orcid.org/{match[1]}" if match else ""


def model_address(export: Export) -> str:
    """Return the address at which the model is published; empty for a local one."""
    model = export.run.provenance.get("model", {})
    source = str(model.get("source", ""))
    if not source.startswith("hf-hub:"):
        return ""
    name, _, asked = source.removeprefix("hf-hub:").partition("@")
    revision = model.get("revision") or asked
    return f"https://huggingface.co/{name}/tree/{revision}" if revision else f"https://huggingface.co/{name}"


def model_name(export: Export) -> str:
    """Return the model with source and revision, without our own version, which does not change an answer."""
    model = export.run.provenance.get("model", {})
    name = str(model.get("name") or export.run.settings.get("model") or "BioCLIP")
    source = str(model.get("source", ""))
    if source.startswith("hf-hub:"):
        source = source.removeprefix("hf-hub:").partition("@")[0]
    else:
        source = f"weights {str(export.run.feature_settings.get('weights_sha256', ''))[:12]}"
    return f"{name} ({source}@{model['revision']})" if model.get("revision") else f"{name} ({source})"


@lru_cache(maxsize=1 << 14)
def nameable(taxon: Taxon, rank: str | None = None) -> Taxon | None:
    """Return the taxon, no deeper than ``rank``, at the lowest rank with a whole name; None for words that are not a taxon."""
    if rank in RANKS:
        taxon = taxon.truncated(Rank(rank))
    if taxon.rank is Rank.SPECIES and not taxon.genus:  # an epithet alone is not a name
        taxon = taxon.truncated(Rank.GENUS)
    return taxon if taxon.rank is not None else None
