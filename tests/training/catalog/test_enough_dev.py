"""The share of train that must be held out to choose on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from collections_of_discs import TAXA
from pyarrow import parquet

from bioclip_training.catalog.enough_dev import advice_on_dev, enough_dev
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.evidence.minima import Evidence


def catalog_of(file: Path, groups: int, own: int = 0) -> Catalog:
    rows = [CatalogRow(f"{n}.jpg", TAXA[n % 2], source="s", group=f"g{n}", split="train") for n in range(groups)]
    rows += [CatalogRow(f"dev{n}.jpg", TAXA[n % 2], source="s", group=f"d{n}", split="dev") for n in range(own)]
    parquet.write_table(table_from(rows), file)
    return Catalog.open(file)


@pytest.mark.parametrize("groups", [60, 100, 150])
def test_the_advised_share_holds_out_enough_groups_and_a_smaller_one_does_not(tmp_path: Path, groups: int) -> None:
    catalog = catalog_of(tmp_path / "c.parquet", groups)
    share = enough_dev(catalog)
    assert share is not None
    can = [
        Evidence.of("dev", catalog.rows_of("dev", dev_fraction=tried).tolist()).can_choose
        for tried in (share, share - 0.05)
    ]
    assert can == [True, False]
    assert advice_on_dev(share) == f"train with --dev-fraction {share:g}, which holds out enough groups to choose on"


def test_too_few_groups_and_a_dev_of_the_catalogs_own_get_no_share(tmp_path: Path) -> None:
    assert enough_dev(catalog_of(tmp_path / "few.parquet", 12)) is None
    assert enough_dev(catalog_of(tmp_path / "own.parquet", 100, own=3)) is None
    assert "more groups" in advice_on_dev(None)
