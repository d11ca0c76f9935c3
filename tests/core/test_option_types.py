"""Values of options of another type than their field's: refused by name, or replaced by the same value of the right type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options


@dataclass(frozen=True, slots=True)
class Example:
    data: str = "x"
    steps: int | None = field(default=None, metadata={"low": 1})
    rate: float = 0.5
    strict: bool = False
    kind: Literal["one", "two"] = "one"
    prefixes: tuple[str, ...] = ()
    names: str | tuple[str, ...] | None = None
    betas: tuple[float, float] = (0.9, 0.98)
    shares: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None
    tell: Callable[[int], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": None}, "data None: must be a text"),
        ({"data": 3}, "data 3: must be a text"),
        ({"steps": "2"}, "steps '2': must be a whole number, or None"),
        ({"steps": 8.5}, "steps 8.5: must be a whole number, or None"),
        ({"steps": True}, "steps True: must be a whole number, or None"),
        ({"steps": float("nan")}, "steps nan: must be a whole number, or None"),
        ({"rate": "1e-3"}, "rate '1e-3': must be a number"),
        ({"rate": None}, "rate None: must be a number"),
        ({"rate": 1j}, "rate 1j: must be a number"),
        ({"strict": "no"}, "strict 'no': must be True or False"),
        ({"strict": 1}, "strict 1: must be True or False"),
        ({"kind": 3}, "kind 3: must be one of one, two"),
        ({"kind": "three"}, "kind 'three': allowed are one, two"),
        ({"prefixes": "a=b"}, "prefixes 'a=b': must be a list of texts"),
        ({"prefixes": ["a=b", 3]}, "prefixes ['a=b', 3]: must be a list of texts"),
        ({"names": 3}, "names 3: must be a text, or a list of texts, or None"),
        ({"betas": (0.9,)}, "betas (0.9,): must be 2 numbers"),
        ({"betas": "ab"}, "betas 'ab': must be 2 numbers"),
        ({"shares": {"a": "half"}}, "shares {'a': 'half'}: must be a mapping to numbers"),
        ({"shares": "a=1"}, "shares 'a=1': must be a mapping to numbers"),
        ({"file": 3}, "file 3: must be a path, or None"),
        ({"tell": "x"}, "tell 'x': must be a function, or None"),
    ],
)
def test_a_value_of_another_type_is_refused_with_name_value_and_what_is_allowed(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Example(**given)
    assert str(caught.value) == words


def test_a_value_that_means_the_same_becomes_one_of_the_fields_type() -> None:
    found = Example(
        data=Path("a"), steps=np.int64(3), rate=np.float32(0.25), strict=np.bool_(True), prefixes=["a=b"], betas=[0, np.float64(1)],  # type: ignore[arg-type]
        file="f", names=["n"],
    )  # fmt: skip
    assert found == Example("a", 3, 0.25, True, "one", ("a=b",), ("n",), (0, 1.0), {}, Path("f"))
    assert [type(value) for value in (found.steps, found.rate, found.strict)] == [int, float, bool]
    assert Example(rate=1).rate == 1
