"""The deployments of a stored run, by the options given or by those that the run began with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_core.errors import DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.finding_deployments import Deployments

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store


def deployments_of(store: Store, run: Run, options: DeploymentOptions, findings: Findings) -> Deployments:
    """Return the deployments of a run's images.

    Args:
        store: the store of the run.
        run: the run.
        options: as given; without any, those that the run began with.
        findings: where it is reported that the run's own table is gone or was changed.

    Raises:
        DataError: for a table that was given and cannot be used.
    """
    chosen = options.or_those_of(run.settings)
    if chosen == DeploymentOptions.from_settings(run.settings) and chosen.deployments:
        recorded = run.rule_settings.get("deployments", {})
        try:
            if recorded and recorded != chosen.identity():
                findings.add(
                    "table of deployments was changed since the rules decided; decide anew with `rules apply --deployments`",
                    str(chosen.deployments),
                )
            return _deployments(store, run, chosen, findings)
        except UsageError as error:
            findings.add("table of deployments of the run cannot be used; give it with --deployments", str(error))
            chosen = DeploymentOptions(None, chosen.deployment_from)
    return _deployments(store, run, chosen, findings)


def deciding_deployments(store: Store, run: Run, findings: Findings) -> Deployments:
    """Return the deployments by which the rules of a run decide.

    Args:
        store: the store of the run.
        run: the run.
        findings: for what is wrong with the rows of its table.

    Raises:
        DataError: if the run's table is gone or is another one now.
    """
    options = DeploymentOptions.from_settings(run.settings)
    recorded = run.rule_settings.get("deployments", {})
    if recorded != options.identity():
        raise DataError(
            f"the table of deployments {options.deployments} was changed since run {run.id} began; give it with --deployments, "
            "so that a run of its own is decided by it"
        )
    return _deployments(store, run, options, findings)


def _deployments(store: Store, run: Run, options: DeploymentOptions, findings: Findings) -> Deployments:
    listed = lambda: store.listed_items(run, only_answered=True)  # noqa: E731
    return Deployments(listed, run.sources, options, findings, run.settings.get("time_zone"))
