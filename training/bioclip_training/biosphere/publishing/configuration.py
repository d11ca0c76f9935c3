"""The configuration with which ``curate`` reads a rendering."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.plan import HOLDOUT, RARE

_LAYOUTS = {"gbif-parquet": "gbif"}
_OPTIONS = {"lila": "    options:\n      categories: common\n"}


def curate_yaml(sources: list[str]) -> str:
    """Return ``curate.yaml``: every source, the taxonomy, and both evaluation sets."""
    listed = "".join(
        f"  {name}:\n    path: {name}\n    layout: {_LAYOUTS.get(name, name)}\n{_OPTIONS.get(name, '')}"
        for name in sources
    )
    return (
        "# Make taxonomy.sqlite of the folder taxonomy first, by the command taxonomy build.\n"
        f"output: curated\ntaxonomy: taxonomy.sqlite\nsources:\n{listed}"
        "evaluation_sets:\n"
        f"  {RARE}:\n    path: evaluation/{RARE}\n    layout: rare-species\n    taxa: exclude\n"
        f"  {HOLDOUT}:\n    path: evaluation/{HOLDOUT}\n    layout: gbif\n    taxa: report\n"
    )
