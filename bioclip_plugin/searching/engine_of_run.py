"""The model and labels of a run, for queries."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.places import RunPlaces

if TYPE_CHECKING:
    from bioclip_plugin.store import Run

_NOT_OF_QUERIES = ("rules", "taxa", "store", "detector")
"""Settings of a run that a query does not have: a query is one image, and the names are those of the whole label set."""


def engine_of_run(
    run: Run,
    store_address: str,
    plugins: BioclipPluginManager,
    *,
    model: str | None = None,
    labels: str | None = None,
    device: str = "auto",
) -> Engine:
    """Find the model and labels of a run again, by its settings; nothing is opened.

    Args:
        run: the run.
        store_address: the address of its store as ``Store.shown_address`` gives it.
        plugins: the manager whose models are known.
        model: another name of the model; None: that of the run.
        labels: folder of another label set; None: that of the run.
        device: device of the model.

    Raises:
        ModelError: if the model cannot be found.
    """
    names = {entry.name for entry in fields(ClassifyRequest)}.difference(_NOT_OF_QUERIES)
    request = {name: value for name, value in run.settings.items() if name in names}
    places = RunPlaces(run, store_address)
    request["model"] = model or places.model(str(request.get("model") or DEFAULT_MODEL), plugins.models())
    if labels is not None:
        request["labels"] = labels
    elif isinstance(request.get("labels"), str):
        request["labels"] = places.labels(request["labels"])
    request["device"] = device
    if run.settings.get("detector") is not None:  # such a run decodes its images whole
        request["exact"] = True
    engine = Engine(ClassifyRequest.from_mapping(request), plugins)
    engine.keep_precision([run.feature_settings], encodes=False)
    return engine
