"""Events: which images belong together, and what the rules decided of them as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from bioclip_plugin.formats.camtrap_dp.naming import Naming
from bioclip_plugin.formats.camtrap_dp.write_observations import Machine, Observed, Row, event_row

_SAYS_LITTLE = ("blank", "unknown")


@dataclass(slots=True)
class _Event:
    first: datetime
    last: datetime
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    namings: dict[tuple[str, str, str], Naming] = field(default_factory=dict)


class Events:
    """Gathers events while the media go by; of each it keeps times, and what was decided with the most individuals at once.

    In memory: some hundred bytes an event.
    """

    def __init__(self) -> None:
        self._events: dict[str, dict[str, _Event]] = {}

    def note(self, deployment: str, name: str, span: tuple[datetime, datetime]) -> None:
        """An image of an event, and the two moments between which it was taken."""
        if not name:
            return
        found = self._events.setdefault(name, {}).get(deployment)
        if found is None:
            self._events[name][deployment] = _Event(*span)
        else:
            found.first, found.last = min(found.first, span[0]), max(found.last, span[1])

    def decide(self, deployment: str, observed: Iterable[Observed], span: tuple[datetime, datetime]) -> None:
        """What was decided of one image's regions, as far as it was decided with the whole event."""
        counts: dict[str, Counter[tuple[str, str, str]]] = {}
        for one in observed:
            decision = one.region.decision if one.region else None
            if decision is None or decision.event is None:
                continue
            self.note(deployment, decision.event, span)
            key = (one.naming.kind, one.naming.scientific_name, one.naming.label)
            counts.setdefault(decision.event, Counter())[key] += bool(one.row.get("count"))
            event = self._events[decision.event][deployment]
            known = event.namings.get(key)
            if known is None or (one.naming.probability or 0) > (known.probability or 0):
                event.namings[key] = one.naming
        for name, tally in counts.items():
            event = self._events[name][deployment]
            for key, count in tally.items():
                event.counts[key] = max(event.counts.get(key, 0), count)

    def span(self, name: str, deployment: str | None = None) -> tuple[str, datetime, datetime] | None:
        """The deployment, the first and the last moment of an event; of its first deployment where none is named."""
        found = self._events.get(name, {})
        where = deployment if deployment in found else next(iter(found), None)
        return (where, found[where].first, found[where].last) if where is not None else None

    def rows(self, machine: Machine, said_by_people: frozenset[tuple[str, str]]) -> Iterator[tuple[Row, Naming]]:
        """Rows for what was decided, except of events that a person spoke of: observations of events exclude each other.

        Args:
            said_by_people: event and deployment.
        """
        for name, places in self._events.items():
            for deployment, event in places.items():
                if (name, deployment) in said_by_people:
                    continue
                keys = sorted(event.namings)
                telling = [key for key in keys if key[0] not in _SAYS_LITTLE]
                unsure = [key for key in keys if key[0] == "unknown"]
                for key in telling or unsure or keys:
                    naming = event.namings[key]
                    span = (event.first, event.last)
                    yield event_row(naming, event.counts.get(key, 0), name, deployment, span, machine), naming
