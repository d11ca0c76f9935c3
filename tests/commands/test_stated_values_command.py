"""Values that cannot be read, from the command line: counted at the end, with the first example and its row."""

from __future__ import annotations

from pathlib import Path

from command_samples import Bioclip


def test_classify_counts_what_it_could_not_read_and_an_option_answers_its_question(
    bioclip: Bioclip, photos: Path, labels: str
) -> None:
    first, second = sorted(photos.glob("*.png"))[:2]
    rows = (f"{first},2024-06-01 22:00:00,50°51'N,4.35", f"{second},s.d.,0,0")
    Path("t.csv").write_text("image,eventDate,latitude,longitude\n" + "\n".join(rows) + "\n", "utf-8")
    options = ("--model", "fake", "--labels", labels, "--store", "t.db")
    done = bioclip("classify", "t.csv", *options)
    text = " ".join(done.out.split())  # without the line breaks of a narrow terminal
    assert done.code == 0
    assert "values of eventDate cannot be read as a date" in text
    assert "(the first: t.csv, row 2: 's.d.')" in text
    assert "are 0, 0, which stands for an unknown place" in text
    Path("open.csv").write_text(f"image,eventDate\n{first},03/04/2024 10:00\n", "utf-8")
    asked = bioclip("classify", "open.csv", *options)
    assert asked.code == 1
    assert "open.csv, row 1: eventDate is '03/04/2024 10:00'" in " ".join(asked.err.split())
    assert bioclip("classify", "open.csv", *options, "--day-first").code == 0
