"""The preprocessing contract: the source of each part, and equality of contracts."""

from __future__ import annotations

from typing import Any

import pytest

from bioclip_core.errors import ModelError
from bioclip_core.preprocessing import OPENAI_MEAN, Preprocessing, preprocessing_of

FOLDER = {
    "size": [112, 112],
    "mean": [0.1, 0.1, 0.1],
    "interpolation": "bicubic",
    "resize_mode": "longest",
    "fill_color": 9,
}


def test_an_option_goes_before_the_registry_the_registry_before_the_folder_and_the_rest_is_assumed() -> None:
    contract = preprocessing_of(
        96,
        folder=FOLDER,
        registry={"resize_mode": "squash", "mean": (0.2, 0.2, 0.2)},
        options={"mean": (0.3, 0.3, 0.3), "decode": "full"},
    )
    assert (contract.mean, contract.said_by["mean"]) == ((0.3, 0.3, 0.3), "option")
    assert (contract.resize_mode, contract.said_by["resize_mode"]) == ("squash", "registry")
    assert (contract.size, contract.said_by["size"]) == (112, "folder")
    assert (contract.fill, contract.said_by["fill"]) == (9, "folder")
    assert contract.said_by["std"] == "assumed"
    assert contract.described().endswith("full decode (assumed: std)")


def test_without_any_statement_open_clips_default_is_used_and_called_assumed() -> None:
    contract = preprocessing_of(96)
    assert (contract.size, contract.mean, contract.interpolation, contract.resize_mode) == (
        96,
        OPENAI_MEAN,
        "bicubic",
        "shortest",
    )
    assert contract.described().endswith("(assumed: mean, std, interpolation, resize_mode)")


def test_a_null_in_the_folders_config_says_nothing() -> None:
    assert preprocessing_of(96, folder={"mean": None, "size": None}).said_by["mean"] == "assumed"
    assert preprocessing_of(96, folder={"size": None}).size == 96


def test_one_number_counts_for_all_three_channels() -> None:
    assert preprocessing_of(96, folder={"mean": 0.5, "std": [0.25, 0.25, 0.25]}).mean == (0.5, 0.5, 0.5)


def test_identity_depends_on_every_value_and_not_on_its_origin() -> None:
    said = preprocessing_of(96, folder={"resize_mode": "squash", "interpolation": "bicubic"})
    assert said.identity() == preprocessing_of(96, options={"resize_mode": "squash"}).identity()
    assert said == preprocessing_of(96, options={"resize_mode": "squash"})
    assert said.identity() == {
        "size": 96, "mean": list(OPENAI_MEAN), "std": [0.26862954, 0.26130258, 0.27577711], "interpolation": "bicubic",
        "resize_mode": "squash", "fill": 0, "decode": "reduced",
    }  # fmt: skip
    others: list[dict[str, Any]] = [{"size": 97}, {"mean": (0.0, 0.0, 0.0)}, {"std": (1.0, 1.0, 1.0)}, {"fill": 1},
                                    {"interpolation": "bilinear"}, {"resize_mode": "longest"}, {"decode": "full"}]  # fmt: skip
    assert len({str(preprocessing_of(96, options=other).identity()) for other in [{}, *others]}) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size 0: allowed are 1 to 2048"), ({"interpolation": "lanczos"}, "nearest, bilinear, bicubic"),
        ({"resize_mode": "stretch"}, "squash, shortest, longest"), ({"size": [224, 196]}, "only square inputs"),
        ({"mean": [0.5, 0.5]}, "three numbers are needed"), ({"std": (0.2, 0.0, 0.2)}, "std.*above 0"),
        ({"mean": ["half", 0, 0]}, "mean"), ({"decode": "half"}, "reduced, full"), ({"fill": 300}, "fill"), ({"fill": [0, 0, 0]}, "fill"),
    ],
)  # fmt: skip
def test_an_impossible_contract_is_refused_with_the_allowed_values(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        preprocessing_of(96, options=options)


def test_the_defaults_are_a_contract_themselves() -> None:
    assert Preprocessing() == preprocessing_of(224)
