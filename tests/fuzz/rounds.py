"""Rounds of a fuzz target: a fixed number of cases with fixed seeds in the suite, and as long as one likes in ``make fuzz``.

A finding is written to ``build/fuzz`` and shown with the command that repeats it. Once it is mended, its file belongs into
``tests/fuzz/found/TARGET``, from where every run of the suite repeats it.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bioclip_core.errors import LONGEST_MESSAGE, BioclipError

SECONDS = float(os.environ.get("BIOCLIP_FUZZ_SECONDS", "0"))
"""Time for each target; 0 is one round with the seed of the suite."""
FOUND = Path(__file__).with_name("found")
_DRAFTS = Path("build") / "fuzz"
_MOST_CPU_S = 5.0


def fuzz(target: Callable[[bytes], None], cases: st.SearchStrategy[bytes], *, count: int, name: str) -> None:
    """Run rounds of ``count`` cases against a target, and the files of earlier findings first.

    Raises:
        AssertionError: or whatever else the target raised, with the place of the file that made it.
    """
    for file in sorted((FOUND / name).glob("*")):
        target(file.read_bytes())
    end, number = time.monotonic() + SECONDS, 0
    while True:
        _round(target, cases, count, name, random.SystemRandom().randrange(1 << 32) if SECONDS else number)
        number += 1
        if time.monotonic() >= end:
            return


def _round(
    target: Callable[[bytes], None], cases: st.SearchStrategy[bytes], count: int, name: str, number: int
) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @seed(number)
    @given(cases)
    def each(data: bytes) -> None:
        try:
            target(data)
        except BaseException as error:
            _DRAFTS.mkdir(parents=True, exist_ok=True)
            draft = _DRAFTS / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
            draft.write_bytes(data)
            error.add_note(f"the file that made it: {draft.resolve()} (round with seed {number})")
            raise

    each()


@contextmanager
def bounded() -> Iterator[None]:
    """Allow a reader its own errors, each one line, and nothing else: no warning, and no more than seconds of work."""
    began = time.thread_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except BioclipError as error:
            message = str(error)
            assert message.strip()
            assert "\n" not in message
            assert len(message) <= LONGEST_MESSAGE
            message.encode("utf-8")
    assert time.thread_time() - began < _MOST_CPU_S
