"""Items that wait for a review, and an audit sample, from the columns of a run."""

from __future__ import annotations

import numpy as np
import pytest
from made_columns import FOX, LYNX, made_columns

from bioclip_plugin.review_order.audit import draw
from bioclip_plugin.review_order.from_columns import drawn_items, events_of, review_items
from bioclip_plugin.store.records import DrawnItem

COLUMNS = made_columns(
    [
        {"media": 1, "region": 1, "taxon": LYNX, "probability": 0.5, "best": 0.75, "margin": 0.5, "event": "night", "camera": "ridge"},
        {"media": 1, "region": 2, "taxon": FOX, "probability": 0.9, "best": 0.5, "margin": 0.1, "event": "night", "camera": "ridge"},
        {"media": 2, "verdict": "blank", "best": 0.25, "review": 0},
        {"media": 3, "verdict": "unknown", "best": 0.25},
        {"media": 4, "failure": "decode: cut short"},
        {"media": 5, "region": 5, "taxon": FOX, "probability": 0.5, "best": 0.5},
        {"media": 5, "region": 6},
    ],
    [{"taxon": FOX}, {"taxon": FOX}, {"verdict": "blank"}],
)  # fmt: skip


def test_items_are_the_reviewable_rows_outside_the_audit_sample() -> None:
    features_RD = np.eye(6, dtype=np.float16)
    items, rows = review_items(COLUMNS, np.array([0, 1, 2, 3, 4, 6]), audited={3}, features_RD=features_RD)
    assert rows.tolist() == [0, 1, 2, 6]
    assert items.features_ND is not None
    assert items.features_ND.argmax(axis=1).tolist() == [0, 1, 2, 5]
    names = [items.taxa[number] if number >= 0 else None for number in items.taxon_N.tolist()]
    assert names == ["Lynx fictus", "Vulpes ficta", None, None]
    assert (items.reviewed_N.tolist(), items.event_N.tolist()) == ([False, False, True, False], [0, 0, -1, -1])
    assert items.labels_T is not None
    assert {items.taxa[number]: int(count) for number, count in enumerate(items.labels_T) if count} == {
        "Vulpes ficta": 2
    }


def test_rules_disagree_with_the_model_by_the_lead_of_its_best_candidate() -> None:
    items, _ = review_items(
        COLUMNS, np.arange(7), catalogue_R=np.array([0.1, 0.3, *[np.nan] * 4, 0.7], dtype=np.float32)
    )
    assert items.disagreement_N is not None
    # 0.75 of the model beside 0.5 of the rules; the catalogue's 0.3; blank against 0.25; undecided; equal; the catalogue alone
    assert items.disagreement_N.tolist() == pytest.approx([0.25, 0.3, 0.25, 0.0, 0.0, 0.7])


def test_an_audit_sample_has_each_image_of_an_event_once() -> None:
    sample = draw(events_of(COLUMNS), COLUMNS.camera_N, 0, 99)
    assert (sample.drawn, sample.events) == (5, 5)
    assert drawn_items(COLUMNS, sample) == [
        DrawnItem(1, "night", "ridge", 1.0), *(DrawnItem(media, "", "", 1.0) for media in (2, 3, 4, 5)),
    ]  # fmt: skip
