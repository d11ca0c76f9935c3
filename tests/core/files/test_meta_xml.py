"""Descriptions of Darwin Core archives: the content of a meta.xml, its defaults, and faults that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import SourceError
from bioclip_core.files.meta_xml import META_BYTES, Column, described, read_description, safe_xml, short

FILE = "<files><location>taxon.txt</location></files>"
TERMS = "http://rs.tdwg.org/dwc/terms/"


def archive(inside: str, attributes: str = "", after: str = "") -> bytes:
    return f"<archive><core {attributes}>{FILE}{inside}</core>{after}</archive>".encode()


def field(term: str, index: int) -> str:
    return f'<field index="{index}" term="{TERMS}{term}"/>'


def test_a_table_is_described_as_it_states_and_as_the_standard_says() -> None:
    content = archive(
        f'<id index="1"/>{field("genus", 3)}<field term="{TERMS}country" default="BE"/>',
        f'rowType="{TERMS}Taxon" fieldsTerminatedBy="\\t" fieldsEnclosedBy="" ignoreHeaderLines="1"',
    )
    core = described(content, "m").core
    assert (core.names, core.kind, core.is_core, core.id_index, core.width) == (("taxon.txt",), "Taxon", True, 1, 4)
    assert (core.separator, core.quote, core.line_end, core.header_lines, core.encoding) == ("\t", "", "\n", 1, "UTF-8")
    assert core.columns == (Column(f"{TERMS}genus", 3, ""), Column(f"{TERMS}country", None, "BE"))
    plain = described(archive('<id index="0"/>'), "m").core
    assert (plain.separator, plain.quote, plain.header_lines) == (",", '"', 0)


def test_names_with_backslashes_and_a_namespace_are_read() -> None:
    content = (
        b'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml"><core><files><location>data\\a.txt</location></files>'
        b'<id index="0"/></core></archive>'
    )
    description = described(content, "m")
    assert (description.core.names, description.metadata) == (("data/a.txt",), "eml.xml")


@pytest.mark.parametrize("term", ["occurrenceID", "catalogNumber", "taxonID"])
def test_a_core_without_an_id_is_identified_by_its_own_term(term: str) -> None:
    assert described(archive(field("genus", 0) + field(term, 2)), "m").core.id_index == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (archive(field("genus", 0)), "has neither <id> nor occurrenceID, catalogNumber or taxonID"),
        (archive('<id index="0"/>', after=f"<extension>{FILE}</extension>"), "lacks <coreid>"),
        (archive('<id index="0"/><field index="0"/>'), "a <field> without a term"),
        (archive('<id index="0"/><field index="-1" term="a"/>'), "the index of a is '-1'"),
        (archive('<id index="0"/>', 'fieldsTerminatedBy="\\x"'), "fieldsTerminatedBy is '.*x', which cannot be read"),
        (archive('<id index="0"/>', 'encoding="hex"'), "has the encoding 'hex'"),
        (
            archive('<id index="0"/>', 'encoding="idna"'),
            "has the encoding 'idna', which is not an encoding of text files",
        ),
        (archive('<id index="0"/>', 'encoding="punycode"'), "has the encoding 'punycode'"),
        (archive('<id index="0"/>', 'encoding="undefined"'), "has the encoding 'undefined'"),
        (archive('<id index="0"/>', 'encoding="unicode_escape"'), "has the encoding 'unicode_escape'"),
        (archive(f'<id index="{"9" * 5000}"/>'), "needed is a whole number from 0 to 100,000"),
        (archive('<id index="0"/>', f'ignoreHeaderLines="{"9" * 5000}"'), "ignoreHeaderLines is '999"),
        (b"<archive/>", "must have one <core>; it has 0"),
        (b" " * (META_BYTES + 1), "is larger than the limit of 1,048,576 bytes"),
    ],
)
def test_a_description_that_cannot_be_trusted_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        described(content, "m")


def test_a_document_that_declares_entities_is_refused_with_its_line() -> None:
    with pytest.raises(SourceError, match="a document type declaration, line 2"):
        safe_xml(b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "m")


def test_a_folder_without_a_description_is_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"it lacks meta\.xml"):
        read_description(tmp_path, "folder")


def test_the_last_part_of_a_term_is_its_name() -> None:
    assert [short(term) for term in (f"{TERMS}genus", "http://example.org/terms#sex", "Multimedia")] == [
        "genus", "sex", "Multimedia",
    ]  # fmt: skip
