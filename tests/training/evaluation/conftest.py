"""Reports of evaluations with their layout where the report is what is tested, and without it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plain_figures import plain_figures


@pytest.fixture(scope="module", autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lay figures out only in the tests of the report."""
    if request.module.__name__ == "test_evaluation_report":
        yield
        return
    with plain_figures():
        yield
