"""``search`` on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from command_samples import Bioclip
from PIL import Image


def test_a_search_prints_what_was_searched_for_and_the_results(bioclip: Bioclip, classified: str) -> None:
    Image.new("RGB", (9, 9), (250, 5, 0)).save("new.png")
    found = bioclip("search", "new.png", "--store", classified, "--top", 1)
    assert found.code == 0
    first, second, header, hit = found.out.splitlines()[-4:]
    assert first == "Search by the image new.png"
    assert second.startswith("Run 1: 3 features of distinct images and regions, all compared (")
    assert header == "cosine\timage\tanswer\tcopies\tkey"
    cosine, name, _, copies, key = hit.split("\t")
    assert (cosine, Path(name).stem, copies) == ("0.9998", "red", "")
    again = json.loads(bioclip("search", key, "--store", classified, "--json").out)
    assert (again["kind"], again["run"], again["exact"], again["compared"]) == ("item", 1, True, 2)
    assert {Path(one["uri"]).stem for one in again["hits"]} == {"green", "blue"}
    assert set(again["hits"][0]) == {
        "key",
        "uri",
        "frame",
        "region",
        "cosine",
        "copies",
        "taxon",
        "rank",
        "probability",
    }


def test_a_search_is_written_as_a_table_and_by_name_or_words(bioclip: Bioclip, classified: str) -> None:
    said = bioclip("search", "blue", "--as", "words", "--store", classified, "--output", "found.csv", "--rebuild")
    assert said.code == 0
    assert "Output: found.csv" in said.out.splitlines()
    rows = list(csv.DictReader(Path("found.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 3
    assert (Path(rows[0]["uri"]).stem, rows[0]["cosine"], rows[0]["region_x"]) == ("blue", "1.0", "")
    refused = bioclip("search", "blue", "--as", "words", "--store", classified, "--output", "found.csv")
    assert refused.code == 1
    assert "the output found.csv exists already" in refused.err


def test_a_text_that_is_nothing_is_refused_with_the_option_that_decides(bioclip: Bioclip, classified: str) -> None:
    refused = bioclip("search", "nothing", "--store", classified)
    assert refused.code == 1
    assert "'nothing' is neither a file, nor an image of run 1, nor a name in the label set" in refused.err
    assert "--as words" in refused.err
