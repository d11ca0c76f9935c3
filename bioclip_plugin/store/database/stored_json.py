"""JSON from the database that is parsed when somebody looks at it: a table of a million images needs none of their metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class StoredJson(Mapping[str, Any]):
    """A JSON object as a mapping that cannot be changed."""

    __slots__ = ("_parsed", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._parsed: dict[str, Any] | None = None

    def _values(self) -> dict[str, Any]:
        if self._parsed is None:
            self._parsed = json.loads(self._text)
        return self._parsed

    def __getitem__(self, key: str) -> Any:
        if self._parsed is None and key.isascii() and key.isidentifier() and f'"{key}"' not in self._text:
            raise KeyError(key)  # without parsing: most keys that are asked for are not there
        return self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __bool__(self) -> bool:
        return self._text != "{}"

    def __repr__(self) -> str:
        return repr(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredJson, (self._text,)
