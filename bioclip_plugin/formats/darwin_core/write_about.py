"""The files beside the tables: the description of the data set (EML), and the provenance of its identifications."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.darwin_core.identities import derived, model_name
from bioclip_plugin.formats.darwin_core.profile import PROFILE

_PACKAGES = ("torch", "open_clip_torch", "pillow")


def eml_xml(export: Export) -> str:
    """Return a short description of the data set in the Ecological Metadata Language, GBIF's profile."""
    options = export.options
    title = escape(options.title or f"Identifications by {model_name(export)}")
    party = f"<organizationName>{escape(options.contributor or 'not stated')}</organizationName>"
    licence = f"<para>{escape(options.licence)}</para>" if options.licence else ""
    about = (
        f"Identifications of specimens and observations by {model_name(export)}, a machine, and by the persons who reviewed them. "
        "Those of the machine are unverified and do not replace other identifications. Each names the images that it is based on."
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="https://eml.ecoinformatics.org/eml-2.2.0 https://rs.gbif.org/schema/eml-gbif-profile/1.3/eml.xsd"'
        f' packageId="{derived("package", export.run.key)}" system="bioclip-plugin" scope="system" xml:lang="en">\n'
        f"  <dataset>\n    <title>{title}</title>\n    <creator>{party}</creator>\n"
        f"    <metadataProvider>{party}</metadataProvider>\n    <pubDate>{export.moment:%Y-%m-%d}</pubDate>\n"
        f"    <language>eng</language>\n    <abstract><para>{escape(about)}</para></abstract>\n"
        + (f"    <intellectualRights>{licence}</intellectualRights>\n" if licence else "")
        + f"    <contact>{party}</contact>\n  </dataset>\n</eml:eml>\n"
    )


def provenance_json(export: Export, counts: Mapping[str, Any]) -> str:
    """Return the identities of model, labels and rules with their settings, without details of the machine that ran them."""
    run = export.run
    model = dict(run.provenance.get("model", {}))
    if not str(model.get("source", "")).startswith("hf-hub:"):
        model["source"] = "local"  # a path on the user's machine stays private; sha256 identifies the weights
    packages = run.provenance.get("packages", {})
    provenance = {
        "profile": PROFILE,
        "run": {"id": run.id, "key": run.key, "ended_at": export.moment.isoformat(timespec="seconds")},
        "model": {**model, "identified_by": model_name(export)},
        "software": {
            "bioclip-plugin": run.provenance.get("bioclip_plugin", ""),
            **{name: packages[name] for name in _PACKAGES if name in packages},
        },
        "feature_id": run.feature_id,
        "feature_settings": dict(run.feature_settings),
        "answer_id": run.answer_id,
        "answer_settings": dict(run.answer_settings),
        "rule_id": run.rule_id,
        "rule_settings": dict(run.rule_settings),
        "counts": counts,
    }
    return json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
