"""Records of confirmed checkpoints that are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import UnsafeWeights
from bioclip_plugin.detectors.trust import check_confirmed, folder_of_detectors


@pytest.mark.parametrize("record", ['{"name": "md.pt"}', '{"name": "md.pt", "sha256": null}', "[]", "{"])
def test_a_damaged_record_confirms_nothing_and_hides_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path))
    folder = folder_of_detectors() / "confirmed"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(record)
    with pytest.raises(UnsafeWeights, match="nobody confirmed it"):
        check_confirmed(Path("md.pt"), "a" * 64)
