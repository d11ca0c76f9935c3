"""``classify --plan``: how long a run would take, how much space it needs and what holds it up, before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.leftovers import temporary_folder
from bioclip_core.findings import shortened
from bioclip_core.nouns import number_of, size_of
from bioclip_core.progress import duration
from bioclip_plugin.commands.context import EXIT_DONE
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import json_alone, log_lines, print_json, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.engines.options import EngineOptions
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.probing.estimate import FETCH, READ
from bioclip_plugin.probing.options import PlanOptions
from bioclip_plugin.running.web_options import WebOptions

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.probing.estimate import Estimate
    from bioclip_plugin.probing.sampling import Sample
    from bioclip_plugin.running.listing import Listing
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.store import Run, Store

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line of ``classify``."""

    paths: tuple[str, ...]
    request: ClassifyRequest
    listing: ListingOptions
    deployments: DeploymentOptions
    web: WebOptions
    engines: EngineOptions
    plan: PlanOptions

    def check_paths(self) -> None:
        """Refuse a command without PATHS and without a store whose images it could work on.

        Raises:
            UsageError: in this case.
        """
        if not self.paths and not self.has_store:
            raise UsageError("no PATHS: give folders, files or tables of images, or - for paths on standard input")

    @property
    def has_store(self) -> bool:
        """True if the store can exist: its file does, or a server has it."""
        address = self.request.store
        return address is not None and ("://" in address or Path(address).exists())


def make_plan(asked: Asked, plugins: BioclipPluginManager, console: Console, *, as_json: bool) -> int:
    """Work on a sample of the images in a store of its own, print the plan, and leave nothing behind.

    Raises:
        UsageError: without PATHS and without a store.
        SourceError: for addresses that cannot be listed, and if no image of the sample can be used.
    """
    from bioclip_plugin.probing.estimate import Estimate
    from bioclip_plugin.probing.probe import Probe
    from bioclip_plugin.probing.sampling import draw_sample
    from bioclip_plugin.running.session import Session

    line = ProgressLine("Listing", console=console)
    with (
        json_alone() if as_json else nullcontext(),
        log_lines(console),
        interruptible(console, "Nothing was stored. The same command makes the plan again."),
        temporary_folder("bioclip-plan-") as folder,
        ExitStack() as stack,
    ):
        store = _opened(asked, stack)
        # Images on the web are fetched into a folder of the plan, which is removed with it.
        web = replace(asked.web, fetch=Path(folder) / "fetched") if asked.web.fetch else asked.web
        request = replace(asked.request, store=str(Path(folder) / "plan.db"))
        session = stack.enter_context(Session(request, plugins, web=web))
        if store is not None:
            session.engine.keep_precision(store.last_feature_settings(session.engine.model.weights_sha256))
        listing = stack.enter_context(_listing(asked, plugins, store))
        with line:
            sample = draw_sample(listing.begun(iter(listing)), asked.plan.plan_images, on_listed=line.reach)
            if not sample.items:
                raise SourceError(f"there is no image to plan for: {sample.first_unlisted}")
            probe = Probe(
                session,
                lambda: session.begin_run([uri_of(path) for path in asked.paths], asked.listing, asked.deployments),
                lambda step, done: line.stage(step, done, len(sample.items) if done else 0),
            )
            measured = probe.measure(sample.items)
        estimate = Estimate(measured, sample.listed, sample.is_complete, _done(store, probe.run))
        runs_on = session.engine.chosen[0].described()
        if as_json:
            print_json(_as_dict(estimate, sample, asked, runs_on))
        else:
            print_lines(console, *map(printable, _lines(estimate, sample, asked, session, runs_on)))
        print_lines(console, *map(printable, asked.listing.findings.lines()))
    return EXIT_DONE


def _opened(asked: Asked, stack: ExitStack) -> Store | None:
    """Open the store of the run to read from it, if it exists; a new one is not made."""
    from bioclip_plugin.store import Store

    asked.check_paths()
    if asked.request.store is None or not asked.has_store:
        return None
    store = Store.open(asked.request.store, create=False, upgrade=False)
    stack.callback(store.close)
    return store


def _listing(asked: Asked, plugins: BioclipPluginManager, store: Store | None) -> Listing:
    from bioclip_plugin.running.listing import Listing

    options = replace(asked.listing, detection_threshold=asked.request.detection_threshold)
    return Listing(asked.paths, plugins.sources(), options, plugins.expand, store.media_under if store else None)


def _done(store: Store | None, run: Run) -> int:
    """Return the images that the run has done already in its store."""
    if store is None:
        return 0
    same = next((other for other in store.runs() if other.key == run.key), None)
    return store.summary(same).done if same is not None else 0


def _as_dict(estimate: Estimate, sample: Sample, asked: Asked, runs_on: str) -> dict[str, Any]:
    return {
        **estimate.as_dict(),
        "listing_seconds": sample.seconds,
        "cannot_be_listed": sample.unlisted,
        "runs_on": runs_on,
        "extrapolated_from": _basis(estimate, sample),
        "not_included": list(_left_out(estimate, asked)),
    }


def _lines(estimate: Estimate, sample: Sample, asked: Asked, session: Session, runs_on: str) -> Iterator[str]:
    """Yield the plan in words."""
    measured, model = estimate.measured, session.engine.model
    low, rate, high = estimate.rates
    images = estimate.to_do or estimate.images
    yield f"Plan for {model.name} on {runs_on}"
    yield f"From {_basis(estimate, sample)}"
    if sample.unlisted:
        yield f"Entries without an image: {sample.unlisted:,} (the first: {shortened(sample.first_unlisted)})"
    if measured.failed:
        yield (
            f"Failed in the sample: {measured.failed} of {number_of(measured.sampled, 'image')} (the first: "
            f"{shortened(measured.first_failure)})"
        )
    yield f"Speed: {_rate(rate)} (likely {_rate(low)} to {_rate(high)}), {_per_image(measured.regions / measured.images)}"
    if estimate.is_complete:
        done = f"; {estimate.done:,} of the {estimate.images:,} are done already" if estimate.done else ""
        shortest, likely, longest = map(duration, estimate.seconds(estimate.to_do))
        yield f"Time: {likely} (likely {shortest} to {longest}) for {number_of(estimate.to_do, 'image')}{done}"
    else:
        images = _MILLION
        shortest, likely, longest = map(duration, estimate.seconds(images))
        yield f"Time: {likely} (likely {shortest} to {longest}) for each 1,000,000 images; their number is not known"
    yield f"Begin: {duration(measured.opening_s)} of it to open the model and choose how to run it, which takes longest the first time"
    of = "" if estimate.is_complete else " for each 1,000,000 images"
    if measured.bytes:
        size = estimate.read_bytes(images)
        yield f"Read{of}: {size_of(size)}, {size_of(round(size / images * rate))} per second"
    stored = estimate.store_bytes(images)
    yield (
        f"Store{of}: {size_of(stored['sqlite'])} in SQLite or about {size_of(stored['postgresql'])} in PostgreSQL, of it "
        f"{size_of(estimate.features_bytes(images))} features"
    )
    yield f"Bottleneck: {measured.bottleneck}"
    for stage, seconds in measured.stage_s.items():
        yield f"  {stage}: {_milliseconds(seconds)} per image, {_rate(1 / seconds)} if nothing else held it up"
    for text in _left_out(estimate, asked):
        yield f"Not in the plan: {text}"


def _basis(estimate: Estimate, sample: Sample) -> str:
    """Return what the plan is extrapolated from."""
    measured = number_of(estimate.measured.sampled, "image")
    if sample.is_complete:
        return f"{measured} drawn from all {sample.listed:,} of the listing, which took {duration(sample.seconds)}"
    return (
        f"{measured} drawn from the first {sample.listed:,} of a listing that had not ended after {duration(sample.seconds)}: later "
        "images may differ"
    )


def _left_out(estimate: Estimate, asked: Asked) -> Iterator[str]:
    """Yield what a run does or meets besides, and which the plan cannot know."""
    measured = estimate.measured
    yield "other work on this machine, and processors or disks that slow down in long runs"
    if measured.images < 2:
        yield "differences between images, since one alone was measured"
    if READ not in measured.stage_s:
        yield "the reading of files alone, which these images do not have (videos, archives, images on the web)"
    else:
        yield "files that the system had in memory while they were measured, and must read in the run"
    if FETCH in measured.stage_s:
        yield "hosts that answer otherwise later; images that the folder of --fetch has already are not fetched again"
    if asked.request.store and "://" in asked.request.store and not asked.request.store.startswith("sqlite"):
        yield "the speed of the database server: results were stored in a file of SQLite"
    if asked.request.rules:
        yield "the pass of the rules after the last image"
    if asked.engines.is_distributed:
        yield f"further workers of --engine {asked.engines.engine}: the time is that of one worker on this machine"
    if estimate.done:
        yield "features that the store has of the images that are to be done: those are not encoded again"


def _rate(per_s: float) -> str:
    """Return a rate in words.

    >>> _rate(11.24), _rate(0.05)
    ('11.2 images/s', '3.0 images/min')
    """
    return f"{per_s:,.1f} images/s" if per_s >= 1 else f"{per_s * 60:,.1f} images/min"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds >= 0.0001 else "under 0.1 ms"


def _per_image(regions: float) -> str:
    return f"{regions:.2g} region{'' if f'{regions:.2g}' == '1' else 's'} per image"
