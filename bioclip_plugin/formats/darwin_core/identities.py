"""The names that things go by in our archives: the same specimen, image and answer have the same one in every export."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bioclip_core.taxonomy import RANKS, Rank, Taxon

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export

# Made once for this purpose; every identifier that we derive hangs on it.
_NAMESPACE = uuid.UUID("b0c11b1e-6d0e-5c1a-9c55-3f1f0f7a2a11")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])$")


def derived(*parts: Any) -> str:
    """A UUID (version 5) of these parts; equal parts give the same one."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=True, sort_keys=True, default=str)))


def known_occurrence(metadata: Mapping[str, Any]) -> str | None:
    """The collection's own id of the specimen: ``occurrenceID``, else institution, collection and catalogue number."""
    if stated := _text(metadata, "occurrenceID"):
        return stated
    if number := _text(metadata, "catalogNumber"):
        return ":".join(
            part for part in (_text(metadata, "institutionCode"), _text(metadata, "collectionCode"), number) if part
        )
    return None


def derived_occurrence(uri: str, frame: int, box: tuple[int, ...] | None) -> str:
    """The id of what is seen in a region of an image that belongs to no known specimen."""
    return f"urn:uuid:{derived('occurrence', uri, frame, box)}"


def media_id(uri: str, frame: int, box: tuple[int, ...] | None) -> str:
    """The id of an image, or of a region of it."""
    return f"urn:uuid:{derived('media', uri, frame, box)}"


def model_key(export: Export) -> list[Any]:
    """What makes two machine answers answers of the same model: weights, labels and prior; not thresholds, not versions."""
    answers, features = export.run.answer_settings, export.run.feature_settings
    labels = {name: answers[name] for name in ("label_set", "words", "groups", "prior") if answers.get(name)}
    return [features.get("weights_sha256", ""), labels]


def machine_identification(occurrence: str, model: list[Any], taxon: Taxon) -> str:
    """The identificationID of a model's answer for a specimen: another answer, or another model, has another one."""
    return derived("identification", occurrence, model, taxon.lineage)


def person_identification(occurrence: str, reviewer: str, taxon: Taxon) -> str:
    """The identificationID of what a person said, however often."""
    return derived("review", occurrence, reviewer, taxon.lineage)


def person_address(reviewer: str) -> str:
    """The address of a person who is named by an ORCID iD; else nothing."""
    match = _ORCID.search(reviewer.strip())
    return f"https://orcid.org/{match[1]}" if match else ""


def model_address(export: Export) -> str:
    """Where the model is published, where it is."""
    model = export.run.provenance.get("model", {})
    source = str(model.get("source", ""))
    if not source.startswith("hf-hub:"):
        return ""
    name, _, asked = source.removeprefix("hf-hub:").partition("@")
    revision = model.get("revision") or asked
    return f"https://huggingface.co/{name}" + (f"/tree/{revision}" if revision else "")


def model_name(export: Export) -> str:
    """Who identified: the model with source and revision, without our own version, which changes no answer."""
    model = export.run.provenance.get("model", {})
    name = str(model.get("name") or export.run.settings.get("model") or "BioCLIP")
    source = str(model.get("source", "")).removeprefix("hf-hub:").partition("@")[0]
    if not str(model.get("source", "")).startswith("hf-hub:"):
        source = f"weights {str(export.run.feature_settings.get('weights_sha256', ''))[:12]}"
    revision = f"@{model['revision']}" if model.get("revision") else ""
    return f"{name} ({source}{revision})"


@lru_cache(maxsize=1 << 14)
def nameable(taxon: Taxon, rank: str | None = None) -> Taxon | None:
    """The taxon, no deeper than ``rank``, at the lowest rank that has a whole name; None for words that are no taxon."""
    if rank in RANKS:
        taxon = taxon.truncated(Rank(rank))
    if taxon.rank is Rank.SPECIES and not taxon.genus:  # an epithet alone names nothing
        taxon = taxon.truncated(Rank.GENUS)
    return taxon if taxon.rank is not None else None


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    return "" if value is None else " ".join(str(value).split())
