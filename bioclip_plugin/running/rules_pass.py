"""The pass of rules over a run: events in order, new probabilities where they change, decisions with their trail, batches.

A pass may be killed at any moment. Only regions without a decision by rules are decided, and where a rule groups images the
whole camera of such a region; the result depends on nothing but the stored data, so running it again ends the same.

In memory are one batch of events (some 500 images with their answers), weights of places (up to 128 MB) and names of taxa.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Candidate, consensus_of
from bioclip_core.errors import BioclipError, PluginError, StoreError
from bioclip_core.findings import Findings
from bioclip_core.progress import Progress
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.contracts.run_deployments import deciding_deployments
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem, Place, place_of
from bioclip_plugin.items.verdicts import VERDICTS
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.rules_events import EventOrder, mixed_note
from bioclip_plugin.running.rules_probabilities import Probabilities, Weighing
from bioclip_plugin.running.rules_summary import Applied, same_answer
from bioclip_plugin.store.reading import uncollected
from bioclip_plugin.store.records import Run, StoredDecision

if TYPE_CHECKING:
    from bioclip_plugin.store import Store
    from bioclip_plugin.store.deciding import AnsweredRegion, Deciding

_IMAGES_AT_ONCE = 500

Trail = list[Mapping[str, Any]]


@dataclass(slots=True, eq=False)
class _Case:
    """A region on its way through the rules."""

    answered: AnsweredRegion
    subject: Subject
    plain: Ruling
    """The consensus of the model's own answer."""
    event: str | None = None
    pool: list[_Case] | None = None
    """The regions that it is answered with; the first of them is classified for all."""
    trail: Trail = field(default_factory=list)


def apply_rules(
    store: Store, run: Run, rules: Sequence[Rule], engine: Callable[[], Engine], progress: Progress | None = None
) -> Applied:
    """Apply rules to the answers of a run; regions that they have decided already are left as they are.

    Args:
        rules: the rules in the run's ``rule_id``, their files read.
        engine: returns the run's model and labels; called only where something is to be decided and a rule needs them.
        progress: called with the images done and with all of them.
    """
    unclassified = any(rule.decides_unclassified for rule in rules)
    deciding = store.deciding(run, unclassified=unclassified)
    if not rules or not deciding.has_open():
        return Applied()
    opened = cache(engine)  # the rules share one label set
    need_labels = any(rule.weighs or rule.groups for rule in rules)
    probabilities = Probabilities(opened(), rules) if need_labels else None
    notes: list[str] = []
    if any(type(rule).notes is not Rule.notes for rule in rules):
        labels = None
        try:
            labels = opened().label_set
        except BioclipError:
            if need_labels:
                raise  # rules that only decide do without the label set, so for them it may be gone
        if labels is not None:
            notes = [f"{rule.name}: {note}" for rule in rules for note in rule.notes(labels)]
    settings = run.answer_settings
    level = str(settings.get("rank", "species"))
    level = "label" if level == "species" and "words" in settings else level
    threshold = float(run.rule_settings["rules"][0]["threshold"])
    deployments, findings = None, Findings()
    if any(rule.groups for rule in rules) or "deployments" in run.rule_settings:
        deployments = deciding_deployments(store, run, findings)
        deployments.survey(findings)
    a_pass = Pass(
        deciding, rules, probabilities, threshold=threshold, level=level, deployments=deployments, findings=findings
    )
    applied = a_pass.apply(progress)
    applied.notes = [*notes, *applied.notes, *findings.lines()]
    return applied


class Pass:
    """One pass of rules. Make it, call :meth:`apply`, let it go."""

    def __init__(
        self,
        deciding: Deciding,
        rules: Sequence[Rule],
        probabilities: Probabilities | None,
        *,
        threshold: float,
        level: str,
        deployments: Deployments | None = None,
        findings: Findings | None = None,
    ) -> None:
        """Set up.

        Args:
            rules: in the order in which they are asked, their files read.
            probabilities: None if no rule weighs or groups.
            threshold: the run's, for the consensus.
            level: the requested rank.
            deployments: of the run; None if no rule needs them.
            findings: where doubtful times are reported.
        """
        self._deployments, self._findings = deployments, findings
        self._order: EventOrder | None = None
        self._deciding = deciding
        self._grouping = next((rule for rule in rules if rule.groups), None)
        self._deciders = [rule for rule in rules if type(rule).decide is not Rule.decide]
        self._probabilities = probabilities
        self._threshold = threshold
        self._level = level

    def apply(self, progress: Progress | None = None) -> Applied:
        """Decide on every undecided region of the run.

        Args:
            progress: called with the images done and with all of them.

        Raises:
            StoreError: where features are needed and not stored.
        """
        applied = Applied()
        for total, batch in self._batches(applied):
            with uncollected():
                self._decide(batch, applied)
            if progress is not None:
                progress(applied.images, total)
        return applied

    def _batches(self, applied: Applied) -> Iterator[tuple[int, list[list[int]]]]:
        """Yield the number of all images, and events by the numbers of their images, enough for one transaction."""
        if self._grouping is None:
            total = self._deciding.count_images()
            yield from ((total, batch) for batch in _bundled([number] for number in self._deciding.open_images()))
            return
        with EventOrder(self._grouping, self._findings) as order:
            self._order = order
            stamps = self._deciding.stamps()
            order.fill(replace(stamp, item=self._completed(stamp.item)) for stamp in stamps)
            if mixed := order.mixed():
                aware, naive = self._deciding.images(mixed[0][1:])
                applied.notes.append(mixed_note(self._grouping.name, mixed, aware.item.uri, naive.item.uri))
            for decided in order.decided():  # a pass that is killed now leaves the rest of the camera undecided
                self._deciding.reopen(decided)
            total = order.count()
            yield from ((total, batch) for batch in _bundled(order.events()))

    def _decide(self, events: list[list[int]], applied: Applied) -> None:
        numbers = [number for event in events for number in event]
        images = (replace(image, item=self._completed(image.item)) for image in self._deciding.images(numbers))
        cases: list[_Case] = []
        for event in events:
            members = [next(images) for _ in event]
            of_event = [self._case(region, image.item) for image in members for region in image.regions]
            cases += of_event
            self._pool(members[0].item, of_event, applied)
            applied.images += len(event)
        self._answer_anew(cases)
        decisions = {}
        for case in cases:
            decision = self._decision(case, applied)
            if decision is not None:
                decisions[case.answered.stored.region_id] = decision
            case.pool = None  # a pool and its members hold each other: nothing is left to the garbage collector
        self._deciding.write(decisions)

    def _case(self, answered: AnsweredRegion, item: MediaItem) -> _Case:
        own = answered.stored.by_rank
        first = self._consensus(own)
        return _Case(
            answered, Subject(item, answered.stored.region, own, own, self._level, self._threshold, first), first
        )

    def _completed(self, item: MediaItem) -> MediaItem:
        """Return an image with its deployment, and with the time and place that the table of deployments gives it."""
        return self._deployments.completed(item) if self._deployments is not None else item

    def _consensus(self, by_rank: Mapping[str, Sequence[Candidate]]) -> Ruling:
        found = consensus_of(by_rank, self._threshold)
        return Ruling("taxon", found) if found is not None else Ruling("unknown")

    # Probabilities

    def _pool(self, item: MediaItem, cases: list[_Case], applied: Applied) -> None:
        """Name the event of these regions, which began with ``item``, and group those that are answered together."""
        key = self._grouping.event_key(item) if self._grouping is not None else None
        if self._grouping is None or key is None or (self._order is not None and self._order.is_mixed(key.group)):
            return
        applied.events += 1
        name = self._grouping.event_name(item)
        for case in cases:
            case.event = name
        pools = self._grouping.pools([case.subject for case in cases]) if len(cases) > 1 else []
        applied.pooled += bool(pools)
        applied.divided += len(pools) > 1
        for pool in pools:
            members = [cases[n] for n in pool]
            for member in members:
                member.pool = members

    def _answer_anew(self, cases: Sequence[_Case]) -> None:
        """Compute new probabilities for regions that are pooled or that a rule weighs."""
        if self._probabilities is None:
            return
        asked: list[tuple[list[_Case], Weighing]] = []
        for case in cases:
            if not case.subject.classified or (case.pool is not None and case.pool[0] is not case):
                continue
            members = case.pool or [case]
            place = place_of(members[0].subject.item) if self._probabilities.weighs else Place()
            weighing = self._probabilities.weighing(place)
            for name in weighing.ignored:
                entry = {"rule": name, "did": "ignored", "why": "it leaves no label at this place"}
                for member in members:
                    member.trail.append(entry)
            if case.pool is not None or weighing.by_rules:
                asked.append((members, weighing))
        if not asked:
            return
        features = self._features([member for members, _ in asked for member in members])
        pools = [[features[member.answered.stored.region_id] for member in members] for members, _ in asked]
        answers = self._probabilities.classify(pools, [weighing for _, weighing in asked])
        for (members, weighing), by_rank in zip(asked, answers, strict=True):
            first = self._consensus(by_rank)
            images = len({id(member.subject.item) for member in members})  # an image's regions share its item
            for member in members:
                before, member.subject.by_rank, member.subject.decided = member.subject.decided, by_rank, first
                changed = {} if same_answer(before, first) else {"from": _named(before)}
                if member.pool is not None and self._grouping is not None:
                    counts = {"images": images, "regions": len(members)}
                    member.trail.append({"rule": self._grouping.name, "did": "pooled", **counts, **changed})
                elif changed:
                    member.trail.append({"rule": weighing.by_rules[0], "did": "weighed", **changed})

    def _features(self, cases: Sequence[_Case]) -> Mapping[int, NDArray[np.float16]]:
        found = self._deciding.features([case.answered for case in cases])
        for case in cases:
            if case.answered.stored.region_id not in found:
                raise StoreError(
                    f"{case.subject.item.uri}: no features are stored, and the rules that weigh or pool need them; run the "
                    "same classify command again (with --rehash where the file is unchanged), then apply the rules"
                )
        return found

    # Decisions

    def _decision(self, case: _Case, applied: Applied) -> StoredDecision | None:
        """Return the decision of the rules and what each of them did; None for a region that no rule has to decide on."""
        subject = case.subject
        deciders = [rule for rule in self._deciders if subject.classified or rule.decides_unclassified]
        if not subject.classified and not deciders:
            return None
        for rule in deciders:
            ruling = _asked(rule, subject)
            if ruling is not None:
                changed = {} if same_answer(subject.decided, ruling) else {"from": _named(subject.decided)}
                why = {"why": ruling.why} if ruling.why else {}
                case.trail.append({"rule": rule.name, "did": ruling.did, **changed, **why, **ruling.details})
                subject.decided = ruling
        applied.count(subject, case.plain, case.trail)
        return StoredDecision(subject.decided.verdict, subject.decided.candidate, case.event, tuple(case.trail))


def _asked(rule: Rule, subject: Subject) -> Ruling | None:
    """Return the decision of a rule.

    Raises:
        PluginError: if it fails, or returns something else.
    """
    try:
        ruling = rule.decide(subject)
    except BioclipError:
        raise
    except Exception as error:
        raise PluginError(f"rule {rule.name}: it failed at {subject.item.uri}: {error!r}") from error
    if ruling is not None and (not isinstance(ruling, Ruling) or ruling.verdict not in VERDICTS):
        raise PluginError(
            f"rule {rule.name} gave {ruling!r}: a Ruling is needed, with one of {', '.join(VERDICTS)}, or None"
        )
    return ruling


def _bundled(events: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    batch: list[list[int]] = []
    images = 0
    for event in events:
        batch.append(event)
        images += len(event)
        if images >= _IMAGES_AT_ONCE:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch


def _named(ruling: Ruling) -> str:
    return ruling.candidate.name if ruling.candidate is not None else ruling.verdict
