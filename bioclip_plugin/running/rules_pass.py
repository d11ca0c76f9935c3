"""The pass of rules over a run: events in order, probabilities anew where they change, decisions with their trail, batches.

A pass may be killed at any moment. Only regions without a decision by rules are decided, and where a rule groups images the
whole camera of such a region; what is written depends on nothing but what is stored, so running it again ends the same.

In memory are one batch of events (some 500 images with their answers), weights of places (up to 128 MB) and names of taxa.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from bioclip_core.classify import Candidate, consensus_of
from bioclip_core.errors import BioclipError, PluginError, StoreError
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.items.media import MediaItem, Place, place_of
from bioclip_plugin.items.verdicts import VERDICTS
from bioclip_plugin.running.rules_events import EventOrder, mixed_error
from bioclip_plugin.running.rules_probabilities import Probabilities
from bioclip_plugin.running.rules_summary import Applied, same_answer
from bioclip_plugin.store.reading import uncollected
from bioclip_plugin.store.records import StoredDecision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.running.rules_probabilities import Weighing
    from bioclip_plugin.store import Run, Store
    from bioclip_plugin.store.deciding import AnsweredRegion, Deciding

_IMAGES_AT_ONCE = 500
_NOWHERE = Place()

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
    """The regions that it is answered with; the first of them stands for all."""
    trail: Trail = field(default_factory=list)


def apply_rules(
    store: Store,
    run: Run,
    rules: Sequence[Rule],
    engine: Callable[[], Engine],
    progress: Callable[[int, int], None] | None = None,
) -> Applied:
    """Apply rules to what a run has answered; regions that they have decided already are left as they are.

    Args:
        rules: those that the run's ``rule_id`` is made of, their files read.
        engine: gives the run's model and labels; called only where something is to be decided and a rule needs them.
        progress: called with the images that are done and with all of them.
    """
    unclassified = any(rule.decides_unclassified for rule in rules)
    deciding = store.deciding(run, unclassified=unclassified)
    if not rules or not deciding.count_images():
        return Applied()
    opened = cache(engine)  # the rules know one label set
    probabilities, notes = None, []
    if any(rule.weighs or rule.groups for rule in rules):
        probabilities = Probabilities(opened(), rules)
    if any(type(rule).notes is not Rule.notes for rule in rules):
        notes = _notes(rules, opened)
    settings = run.answer_settings
    level = (
        "label" if settings.get("rank") == "species" and "words" in settings else str(settings.get("rank", "species"))
    )
    threshold = float(run.rule_settings["rules"][0]["threshold"])
    applied = Pass(deciding, rules, probabilities, threshold=threshold, level=level).apply(progress)
    applied.notes = notes
    return applied


def _notes(rules: Sequence[Rule], engine: Callable[[], Engine]) -> list[str]:
    """What the files of rules lack in the label set. Rules that only decide do without it, so there it may be gone."""
    try:
        labels = engine().label_set
    except BioclipError:
        if any(rule.weighs or rule.groups for rule in rules):
            raise
        return []
    return [f"{rule.name}: {note}" for rule in rules for note in rule.notes(labels)]


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
    ) -> None:
        """Set up.

        Args:
            rules: in the order in which they are asked, their files read.
            probabilities: None where no rule weighs or groups.
            threshold: the run's, for the consensus.
            level: the rank that was asked.
        """
        self._deciding = deciding
        self._rules = rules
        self._grouping = next((rule for rule in rules if rule.groups), None)
        self._deciders = [rule for rule in rules if type(rule).decide is not Rule.decide]
        self._of_unclassified = [rule for rule in self._deciders if rule.decides_unclassified]
        self._probabilities = probabilities
        self._threshold = threshold
        self._level = level

    def apply(self, progress: Callable[[int, int], None] | None = None) -> Applied:
        """Decide on every region of the run that is not decided yet.

        Args:
            progress: called with the images that are done and with all of them.

        Raises:
            UsageError: for times of one camera with and without a zone.
            StoreError: where features are needed and not stored.
        """
        applied = Applied()
        for total, batch in self._batches():
            with uncollected():
                self._decide(batch, applied)
            if progress is not None:
                progress(applied.images, total)
        return applied

    def _batches(self) -> Iterator[tuple[int, list[list[int]]]]:
        """Events by the numbers of their images, so many at once as make a transaction; before them the number of images."""
        if self._grouping is None:
            total = self._deciding.count_images()
            yield from ((total, batch) for batch in _bundled([number] for number in self._deciding.open_images()))
            return
        with EventOrder(self._grouping) as order:
            order.fill(self._deciding.stamps())
            self._check_zones(order, self._grouping)
            for decided in order.decided():  # so that a pass that is killed now finds the rest of the camera to do
                self._deciding.reopen(decided)
            total = order.count()
            yield from ((total, batch) for batch in _bundled(order.events()))

    def _check_zones(self, order: EventOrder, rule: Rule) -> None:
        mixed = order.mixed()
        if mixed is not None:
            aware, naive = self._deciding.images(mixed)
            raise mixed_error(rule.name, aware.item.uri, naive.item.uri)

    def _decide(self, events: list[list[int]], applied: Applied) -> None:
        images = iter(self._deciding.images([number for event in events for number in event]))
        cases: list[_Case] = []
        for event in events:
            members = [next(images) for _ in event]
            of_event = [self._case(one, image.item) for image in members for one in image.regions]
            cases += of_event
            self._pool(members[0].item, of_event, applied)
            applied.images += len(event)
        self._answer_anew(cases)
        decisions = {}
        for case in cases:
            decision = self._decision(case, applied)
            if decision is not None:
                decisions[case.answered.stored.region_id] = decision
            case.pool = None  # a pool holds its members, which hold it: nothing is left to the garbage collector
        self._deciding.write(decisions)

    def _case(self, one: AnsweredRegion, item: MediaItem) -> _Case:
        own = one.stored.by_rank
        first = _consensus(own, self._threshold)
        return _Case(one, Subject(item, one.stored.region, own, own, self._level, self._threshold, first), first)

    # Probabilities

    def _pool(self, item: MediaItem, cases: list[_Case], applied: Applied) -> None:
        """Name the event that began with ``item`` and has these regions, and say which are answered together."""
        if self._grouping is None or self._grouping.event_key(item) is None:
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
        """Give new probabilities to what is pooled, and to what a rule weighs."""
        if self._probabilities is None:
            return
        asked: list[tuple[list[_Case], Weighing]] = []
        for case in cases:
            if not case.subject.classified or (case.pool is not None and case.pool[0] is not case):
                continue
            members = case.pool or [case]
            place = place_of(members[0].subject.item) if self._probabilities.weighs else _NOWHERE
            weighing = self._weighing(members, place)
            if case.pool is not None or weighing.by_rules:
                asked.append((members, weighing))
        if not asked:
            return
        features = self._features([member for members, _ in asked for member in members])
        pools = [[features[member.answered.stored.region_id] for member in members] for members, _ in asked]
        answers = self._probabilities.classify(pools, [weighing for _, weighing in asked])
        for (members, weighing), by_rank in zip(asked, answers, strict=True):
            first = _consensus(by_rank, self._threshold)
            for member in members:
                before, member.subject.by_rank, member.subject.decided = member.subject.decided, by_rank, first
                if member.pool is not None:
                    self._say_pooled(member, before)
                elif not same_answer(before, first):
                    entry = {"rule": weighing.by_rules[0], "did": "weighed", "from": _named(before)}
                    member.trail.append(entry)

    def _weighing(self, members: Sequence[_Case], place: Place) -> Weighing:
        assert self._probabilities is not None
        weighing = self._probabilities.weighing(place)
        for name in weighing.ignored:
            entry = {"rule": name, "did": "ignored", "why": "it leaves no label at this place"}
            for member in members:
                member.trail.append(entry)
        return weighing

    def _say_pooled(self, case: _Case, before: Ruling) -> None:
        assert self._grouping is not None
        assert case.pool is not None
        images = len({id(member.subject.item) for member in case.pool})  # an image's regions share its item
        entry: dict[str, Any] = {
            "rule": self._grouping.name,
            "did": "pooled",
            "images": images,
            "regions": len(case.pool),
        }
        if not same_answer(before, case.subject.decided):
            entry["from"] = _named(before)
        case.trail.append(entry)

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
        """What the rules decide, with what each of them did; None for a region that no rule has to decide on."""
        subject = case.subject
        deciders = self._deciders if subject.classified else self._of_unclassified
        if not subject.classified and not deciders:
            return None
        for rule in deciders:
            ruling = _asked(rule, subject)
            if ruling is not None:
                case.trail.append(_entry(rule.name, ruling, subject.decided))
                subject.decided = ruling
        applied.count(subject, case.plain, case.trail)
        return StoredDecision(subject.decided.verdict, subject.decided.candidate, case.event, tuple(case.trail))


def _asked(rule: Rule, subject: Subject) -> Ruling | None:
    """What a rule decides.

    Raises:
        PluginError: if it fails, or gives something else.
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


def _consensus(by_rank: Mapping[str, Sequence[Candidate]], threshold: float) -> Ruling:
    found = consensus_of(by_rank, threshold)
    return Ruling("taxon", found) if found is not None else Ruling("unknown")


def _named(ruling: Ruling) -> str:
    return ruling.candidate.name if ruling.candidate is not None else ruling.verdict


def _entry(rule: str, ruling: Ruling, before: Ruling) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"rule": rule, "did": ruling.did}
    if not same_answer(before, ruling):
        entry["from"] = _named(before)
    if ruling.why:
        entry["why"] = ruling.why
    return {**entry, **ruling.details}
