"""``--time-zone``: an unknown zone is refused before any file is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_samples import Bioclip


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "photos", "--model", "fake", "--labels", "labels", "--store", "new.db"),
        ("embed", "photos", "--model", "fake", "--output", "new.parquet"),
        ("review", "import", "checked.csv", "--store", "results.db"),
        ("export", "--store", "results.db", "--output", "new.parquet"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("zone", ["Mars/Base", "Nope/Zone", "", "+2", "../etc/passwd"])
def test_an_unknown_zone_is_misuse(bioclip: Bioclip, classified: str, command: tuple[str, ...], zone: str) -> None:
    Path("checked.csv").write_text("uri,verdict\nphotos/red.png,unknown\n")
    before = Path(classified).read_bytes()
    said = bioclip(*command, "--time-zone", zone)
    assert said.code == 2
    assert f"time zone {zone!r} is not known; give a name such as Europe/Brussels" in said.err
    assert Path(classified).read_bytes() == before
    assert not Path("new.db").exists()
    assert not Path("new.parquet").exists()


def test_one_of_the_options_file_is_refused_alike(bioclip: Bioclip, photos: Path, labels: str) -> None:
    Path("bioclip.toml").write_text('time_zone = "Mars/Base"\n')
    said = bioclip("classify", photos.name, "--model", "fake", "--labels", labels)
    assert said.code == 2
    assert "time zone 'Mars/Base' is not known" in said.err
    assert bioclip("classify", photos.name, "--model", "fake", "--labels", labels, "--time-zone", "UTC").code == 3
