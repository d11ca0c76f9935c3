"""``--fetch`` on the command line: without it, images on the web are failures with one line that names it."""

from __future__ import annotations

from pathlib import Path

from command_samples import Bioclip

from bioclip_plugin.items.web import ON_THE_WEB


def table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(("image,catalogNumber,country", *rows)) + "\n", encoding="utf-8")
    return str(path)


def test_a_catalog_says_what_to_do_with_addresses(bioclip: Bioclip) -> None:
    Path("t.csv").write_text("image,scientificName\nhttps://example.org/a.jpg,Quercus robur\n")
    outcome = bioclip("catalog", "build", "t.csv", "--output", "c.parquet")
    assert outcome.code == 1
    assert "--fetch FOLDER fetches it, or download it into" in outcome.out + outcome.err


def test_without_a_folder_addresses_fail_with_a_count_and_the_first_example(bioclip: Bioclip, labels: str) -> None:
    given = table(Path("t.csv"), *(f"https://example.org/{n}.jpg,{n},BE" for n in range(5)))
    outcome = bioclip("classify", given, "--model", "fake", "--labels", labels, "--store", "r.db")
    assert outcome.code == 3
    said = outcome.out + outcome.err
    assert f"{ON_THE_WEB}: 5 (the first: https://example.org/0.jpg)" in said
    assert "5 x fetch: the image is on the web, and nothing is fetched without --fetch FOLDER" in said
