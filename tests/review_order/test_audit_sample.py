"""The draw of an audit sample: whole events, in proportion to the deployments."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bioclip_core.errors import UsageError
from bioclip_plugin.review_order.audit import draw


def test_each_deployment_gives_its_share_of_events_and_at_least_one() -> None:
    # deployments of 60, 30, 2 and 1 events, each of two images, and 7 images that are events of their own without a deployment
    deployments = np.repeat([0, 1, 2, 3], [60, 30, 2, 1])
    event_N = np.concatenate([np.repeat(np.arange(93), 2), np.full(7, -1)])
    deployment_N = np.concatenate([np.repeat(deployments, 2), np.full(7, -1)])
    sample = draw(event_N, deployment_N, seed=3, events=20)
    drawn = Counter(deployment_N[sample.rows_S].tolist())
    # 20 of 100: 12, 6, 0.4, 0.2 and 1.4 events; two of them are raised to one, taken from those furthest above their share
    assert drawn == {0: 24, 1: 10, 2: 2, 3: 2, -1: 1} or drawn == {0: 22, 1: 12, 2: 2, 3: 2, -1: 1}
    events = Counter(event_N[sample.rows_S][event_N[sample.rows_S] >= 0].tolist())
    assert set(events.values()) == {2}  # whole events
    assert (sample.drawn, sample.events, len(sample.rows_S)) == (20, 100, 39)
    assert sample.sentence == "20 events of 100 (39 items), at random within each deployment"
    # the inverse of the inclusion adds up to all events
    first = np.unique(
        np.where(event_N[sample.rows_S] < 0, -1 - sample.rows_S, event_N[sample.rows_S]), return_index=True
    )[1]
    assert (1 / sample.inclusion_S[first]).sum() == pytest.approx(100)
    assert draw(event_N, deployment_N, 3, 20).rows_S.tolist() == sample.rows_S.tolist()
    assert draw(event_N, deployment_N, 4, 20).rows_S.tolist() != sample.rows_S.tolist()


def test_every_event_of_a_deployment_is_drawn_equally_often() -> None:
    event_N, deployment_N = np.arange(10), np.repeat([0, 1], [8, 2])
    counts = np.zeros(10)
    for seed in range(2000):
        counts[draw(event_N, deployment_N, seed, 5).rows_S] += 1
    # 4 of 8 and 1 of 2: a half each; 2,000 draws have a standard deviation of 0.011
    assert np.abs(counts / 2000 - 0.5).max() < 0.056


def test_a_small_project_is_drawn_whole_and_few_draws_are_not_stratified() -> None:
    everything = draw(np.array([0, 0, 1]), np.array([0, 0, 1]), 0, 200)
    assert (everything.rows_S.tolist(), everything.inclusion_S.tolist()) == ([0, 1, 2], [1.0, 1.0, 1.0])
    few = draw(np.full(9, -1), np.arange(9), 0, 3)
    assert few.inclusion_S == pytest.approx([1 / 3] * 3)
    with pytest.raises(UsageError, match="of 0 events: draw at least 1"):
        draw(np.array([0]), np.array([0]), 0, 0)
    with pytest.raises(UsageError, match="classify images first"):
        draw(np.array([], dtype=int), np.array([], dtype=int), 0)
