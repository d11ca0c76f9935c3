"""Known names in messages about one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

_MOST_LISTED = 12


def listed(names: Sequence[str], shown: Callable[[str], str] = str, see: str = "") -> str:
    """Return names for a message; of many the first ones, and the number of the others.

    Args:
        names: the names.
        shown: returns a name as it is shown.
        see: the command that shows all of them, named beside the number of the others.

    >>> listed(["a", "b"])
    'a, b'
    """
    text = ", ".join(map(shown, names[:_MOST_LISTED]))
    if len(names) <= _MOST_LISTED:
        return text
    return f"{text} and {len(names) - _MOST_LISTED:,} more" + (f" (see: {see})" if see else "")


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Return the end of a message: the known name that is nearly the given one; empty if there is none.

    >>> did_you_mean("Spoter", ["spotter", "other"])
    '; did you mean spotter?'
    """
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(given.casefold(), by_folded, 1)
    return f"; did you mean {by_folded[near[0]]}?" if near else ""
