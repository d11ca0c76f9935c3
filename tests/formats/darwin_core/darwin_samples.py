"""Darwin Core archives made by hand, for the tests."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

DWC = "http://rs.tdwg.org/dwc/terms/"
AC = "http://rs.tdwg.org/ac/terms/"
DCT = "http://purl.org/dc/terms/"
OCCURRENCE = f"{DWC}Occurrence"
SIMPLE = "http://rs.gbif.org/terms/1.0/Multimedia"
AUDUBON = f"{AC}Multimedia"
SPECIMENS = [
    {"id": "s1", "catalogNumber": "NHM 1", "institutionCode": "NHM", "recordedBy": "A. Collector", "scientificName": "Vulpes vulpes",
     "genus": "Vulpes", "family": "Canidae", "taxonRank": "species", "eventDate": "1905-06-03", "countryCode": "be",
     "stateProvince": "Namur", "decimalLatitude": "50.5", "decimalLongitude": "4.25"},
    {"id": "s2", "catalogNumber": "NHM 2", "scientificName": "Lynx lynx"},
]  # fmt: skip


def term(name: str) -> str:
    """Return the address of a term in the vocabulary that defines it."""
    if name in ("identifier", "title", "creator", "type", "format"):
        return DCT + name
    audubon = ("accessURI", "isROIOf", "xFrac", "yFrac", "widthFrac", "heightFrac")
    return (AC if name in audubon else DWC) + name


def section(tag: str, row_type: str, file: str, columns: Sequence[str], **attributes: str) -> str:
    """Return one part of a meta.xml. The first column is the id."""
    about = {"encoding": "UTF-8", "fieldsTerminatedBy": "\\t", "linesTerminatedBy": "\\n", "fieldsEnclosedBy": "",
             "ignoreHeaderLines": "1", **attributes}  # fmt: skip
    key = "id" if tag == "core" else "coreid"
    fields = "".join(f'<field index="{n}" term="{term(name)}"/>' for n, name in enumerate(columns) if n)
    written = " ".join(f'{name}="{value}"' for name, value in about.items())
    return f'<{tag} rowType="{row_type}" {written}><files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'


def meta(*sections: str) -> str:
    """Return a complete meta.xml."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<archive xmlns="http://rs.tdwg.org/dwc/text/">{"".join(sections)}</archive>\n'


def lines(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Return a tab-separated table with its header."""
    return "".join("\t".join(cells) + "\n" for cells in [columns, *([row.get(c, "") for c in columns] for row in rows)])


def archive(
    folder: Path,
    media: Sequence[Mapping[str, str]],
    specimens: Sequence[Mapping[str, str]] = SPECIMENS,
    *,
    media_type: str = SIMPLE,
) -> Path:
    """Write a folder with meta.xml, occurrence.txt and multimedia.txt. ``coreid`` is a key of each media row."""
    folder.mkdir(parents=True, exist_ok=True)
    core = list(dict.fromkeys(name for row in specimens for name in row))
    columns = list(dict.fromkeys(["coreid", *(name for row in media for name in row)]))
    (folder / "occurrence.txt").write_text(lines(core, specimens), "utf-8")
    (folder / "multimedia.txt").write_text(lines(columns, media), "utf-8")
    (folder / "meta.xml").write_text(
        meta(section("core", OCCURRENCE, "occurrence.txt", core), section("extension", media_type, "multimedia.txt", columns)), "utf-8"
    )  # fmt: skip
    return folder


def picture(path: Path, colour: str = "red") -> Path:
    """Write a small image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), colour).save(path, None if path.suffix in Image.registered_extensions() else "PNG")
    return path


def packed(folder: Path, file: Path, top: str = "") -> Path:
    """Pack a folder into a zip file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                written.write(path, Path(top, path.relative_to(folder)).as_posix())
    return file
