"""Listing of folders, tables, lists and single files, in a stable order and despite unusable files."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.tables.quotes import LINE_CHARACTERS
from bioclip_core.tables.text import STRAY
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions, Source
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import MediaItem, Region, Unlisted
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.sources.files import FilesSource, StandardInputSource
from bioclip_plugin.sources.folder import FolderSource


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def uris(source: Source, address: str) -> list[str]:
    return [item.uri for item in source.items(address) if isinstance(item, MediaItem)]


def items(source: Source, address: str) -> list[MediaItem]:
    found = list(source.items(address))
    assert all(isinstance(item, MediaItem) for item in found), found
    return [item for item in found if isinstance(item, MediaItem)]


def unlisted(source: Source, address: str) -> list[Unlisted]:
    return [item for item in source.items(address) if isinstance(item, Unlisted)]


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_files_first_and_then_its_folders_each_sorted_by_name() -> None:
    touch("photos/b.jpg", "photos/a/z.png", "photos/a/B.TIF", "photos/C.JPeG", "photos/a/k/1.jp2", "photos/d/0.webp")
    assert uris(FolderSource(), "photos") == [
        "photos/C.JPeG", "photos/b.jpg", "photos/a/B.TIF", "photos/a/z.png", "photos/a/k/1.jp2", "photos/d/0.webp",
    ]  # fmt: skip


def test_hidden_files_sidecars_and_folders_of_the_system_are_skipped() -> None:
    touch(
        "p/a.jpg", "p/a.xmp", "p/a.jpg.json", "p/notes.txt", "p/Thumbs.db", "p/table.csv", "p/.b.jpg", "p/._a.jpg",
        "p/.trash/c.jpg", "p/@eaDir/d.jpg", "p/__MACOSX/e.jpg", "p/noext",
    )  # fmt: skip
    assert uris(FolderSource(), "p") == ["p/a.jpg"]


def test_the_uri_is_the_path_as_listed() -> None:
    touch("a.jpg", "100%/ä 1.jpg")
    assert uris(FolderSource(), ".") == ["./a.jpg", "./100%/ä 1.jpg"]
    (item,) = items(FolderSource(), os.fspath(Path("100%").absolute()))
    assert item.uri == os.fspath(Path("100%/ä 1.jpg").absolute())
    assert item.path is not None
    assert item.path.read_bytes() == b"x"


def test_links_that_go_round_in_circles_end_and_each_real_folder_is_listed_once() -> None:
    touch("p/a/1.jpg", "p/b/2.jpg")
    Path("p/a/up").symlink_to(Path("p").absolute())
    Path("p/b/self").symlink_to("self")
    Path("p/c").symlink_to("b")
    assert uris(FolderSource(), "p") == ["p/a/1.jpg", "p/b/2.jpg"]


def test_a_link_to_a_folder_elsewhere_is_followed() -> None:
    touch("elsewhere/1.jpg", "p/2.jpg")
    Path("p/z").symlink_to(Path("elsewhere").absolute())
    assert uris(FolderSource(), "p") == ["p/2.jpg", "p/z/1.jpg"]


def test_a_link_to_nothing_is_named_and_does_not_stop_the_listing() -> None:
    touch("p/b.jpg")
    Path("p/a.jpg").symlink_to("gone.jpg")
    assert uris(FolderSource(), "p") == ["p/b.jpg"]
    assert unlisted(FolderSource(), "p") == [Unlisted("p/a.jpg", "it is a broken link, or not a file")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf_8_are_listed_and_found_again() -> None:
    Path("p").mkdir()
    Path(os.fsdecode(b"p/\xff.jpg")).write_bytes(b"x")
    (item,) = items(FolderSource(), "p")
    assert item.uri == "p/%FF.jpg"
    assert item.path is not None
    assert item.path.read_bytes() == b"x"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_an_unreadable_folder_is_named_and_the_listing_goes_on(tmp_path: Path) -> None:
    touch("p/a/1.jpg", "p/b/2.jpg", "p/c/3.jpg")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    Path("p/b").chmod(0)
    program = (
        "import os\nfrom bioclip_plugin.sources.folder import FolderSource\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"  # permissions do not bind root
        "for item in FolderSource().items('p'): print(item.uri, getattr(item, 'reason', ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    Path("p/b").chmod(0o755)
    assert done.stdout.splitlines() == ["p/a/1.jpg ", "p/b the folder cannot be listed: no permission", "p/c/3.jpg "]


def test_a_folder_that_vanishes_while_others_are_listed_is_named() -> None:
    touch("p/a/1.jpg", "p/b/2.jpg", "p/c/3.jpg")
    found = FolderSource().items("p")
    first = next(found)
    Path("p/b/2.jpg").unlink()
    Path("p/b").rmdir()
    rest = list(found)
    assert first.uri == "p/a/1.jpg"
    assert [item.uri for item in rest] == ["p/b", "p/c/3.jpg"]
    assert rest[0] == Unlisted("p/b", "the folder cannot be listed: it does not exist any more")


def test_a_folder_that_cannot_be_read_at_all_is_an_error() -> None:
    with pytest.raises(SourceError, match="the folder gone cannot be listed: it does not exist"):
        list(FolderSource().items("gone"))


# -- tables ------------------------------------------------------------------------------------------------------------


def table(text: str | bytes, name: str = "t.csv") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def test_images_are_relative_to_their_table() -> None:
    address = table("image\nimages/1.jpg\n/data/2.jpg\n", "leaves/collection.csv")
    assert uris(TableSource(), address) == ["leaves/images/1.jpg", "/data/2.jpg"]


def test_the_first_of_the_image_columns_is_taken_whatever_its_case() -> None:
    assert uris(TableSource(), table("uri,File,PATH\nu,f,p\n")) == ["p"]


def test_known_columns_fill_fields_and_the_others_go_into_the_metadata() -> None:
    address = table(
        "image,eventDate,decimalLatitude,decimalLongitude,countryCode,stateProvince,deploymentID,eventID,genus,empty\n"
        "1.jpg,2021-04-11T20:43:09+02:00,50.7,-4.013,be,Brabant,d1,e1,Anas,\n"
    )
    (item,) = items(TableSource(), address)
    assert item.captured_at == datetime.fromisoformat("2021-04-11T20:43:09+02:00")
    place = item.place
    assert (place.latitude, place.longitude, place.month) == (50.7, -4.013, 4)
    assert (place.country, place.region) == ("BE", "Brabant")
    assert (item.deployment, item.sequence) == ("d1", "e1")
    assert dict(item.metadata) == {"genus": "Anas"}


def test_values_that_no_field_can_hold_stay_in_the_metadata() -> None:
    address = table("image,eventDate,country,latitude,longitude\n1.jpg,spring 1911,Belgium,95,4\n")
    (item,) = items(TableSource(), address)
    assert (item.captured_at, bool(item.place)) == (None, False)
    assert dict(item.metadata) == {"eventDate": "spring 1911", "country": "Belgium", "latitude": "95", "longitude": "4"}


def test_a_day_without_a_time_gives_the_month_and_no_moment() -> None:
    (item,) = items(TableSource(), table("image,eventDate\n1.jpg,1911-05-03\n"))
    assert (item.captured_at, item.place.month) == (None, 5)
    assert dict(item.metadata) == {"eventDate": "1911-05-03"}


def test_a_time_without_a_zone_stays_without_one() -> None:
    naive, aware = items(
        TableSource(), table("image,timestamp\n1.jpg,2021:04:11 20:43:09\n2.jpg,2021-04-11T20:43:09Z\n")
    )
    assert naive.captured_at == datetime(2021, 4, 11, 20, 43, 9)
    assert aware.captured_at == datetime(2021, 4, 11, 20, 43, 9, tzinfo=UTC)


def test_rows_of_one_image_that_stand_together_are_its_regions() -> None:
    address = table(
        "image,bboxX,bboxY,bboxWidth,bboxHeight,note\n"
        "1.jpg,0.1,0.2,0.3,0.4,first\n1.jpg,0.5,0.5,0.5,0.5,second\n2.jpg,,,,,\n2.jpg,,,,,\n3.jpg,0,0,1,1,\n"
    )
    one, two, three = (entry for entry in TableSource().items(address) if isinstance(entry, MediaItem))
    assert [entry.uri for entry in unlisted(TableSource(), address)] == ["t.csv#row=4"]
    assert one.regions == (Region(0.1, 0.2, 0.3, 0.4), Region(0.5, 0.5, 0.5, 0.5))
    assert dict(one.metadata) == {"note": "first"}
    assert (two.uri, two.regions) == ("2.jpg", ())
    assert three.regions == (Region(0, 0, 1, 1),)


def test_a_box_that_cannot_be_is_named_with_its_row_and_the_image_keeps_its_others() -> None:
    address = table(
        "image,bboxX,bboxY,bboxWidth,bboxHeight\n1.jpg,0.9,0,0.3,1\n1.jpg,0,0,1,1\n2.jpg,0,0,x,1\n3.jpg,,,,\n"
    )
    assert [(item.uri, item.regions) for item in TableSource().items(address) if isinstance(item, MediaItem)] == [
        ("1.jpg", (Region(0, 0, 1, 1),)),
        ("3.jpg", ()),
    ]
    first, second = unlisted(TableSource(), address)
    assert (first.uri, second.uri) == ("t.csv#row=1", "t.csv#row=3")
    assert "between 0 and 1 of the upright image" in first.reason
    assert "four numbers from 0 to 1 are needed" in second.reason


def test_a_row_without_an_image_is_named_and_the_listing_goes_on() -> None:
    address = table("image,genus\n1.jpg,Anas\n,Bufo\n3.jpg,Acer\n")
    assert uris(TableSource(), address) == ["1.jpg", "3.jpg"]
    (row,) = unlisted(TableSource(), address)
    assert (row.uri, row.reason) == ("t.csv#row=2", "row 2: column 'image' is empty; it must name the image")
    assert dict(row.item.metadata) == {"genus": "Bufo"}


def test_messages_name_the_column_of_the_images_as_the_table_has_it() -> None:
    address = table("Bilddatei;Gattung\n1.jpg;Anas\n;Bufo\n")
    options = ListingOptions(column=("image=Bilddatei",))
    (row,) = (entry for entry in TableSource().items(address, options) if isinstance(entry, Unlisted))
    assert row.reason == "row 2: column 'Bilddatei' is empty; it must name the image"


def test_marks_quoted_ends_of_line_and_windows_ends_of_line_are_understood() -> None:
    address = table(b'\xef\xbb\xbfimage,note\r\n"a, 1.jpg","two\r\nlines"\r\n\r\nb.jpg,"say ""b"""\r\n')
    a, b = items(TableSource(), address)
    assert (a.uri, dict(a.metadata)) == ("a, 1.jpg", {"note": "two\r\nlines"})
    assert (b.uri, dict(b.metadata)) == ("b.jpg", {"note": 'say "b"'})


@pytest.mark.parametrize(("separator", "name"), [("\t", "t.tsv"), (";", "t.csv"), ("\t", "t.txt")])
def test_tabs_and_semicolons_separate_too(separator: str, name: str) -> None:
    address = table(f"image{separator}note\n1.jpg{separator}a,b\n", name)
    assert TableSource().takes(address)
    (item,) = items(TableSource(), address)
    assert (item.uri, dict(item.metadata)) == ("1.jpg", {"note": "a,b"})


def test_cells_in_latin_1_are_read_and_utf_8_ones_beside_them_too() -> None:
    address = table(b"image,note\n1.jpg,caf\xe9\n2.jpg,caf\xc3\xa9\n")
    assert [dict(item.metadata) for item in items(TableSource(), address)] == [{"note": "café"}] * 2


def test_a_table_in_utf_16_with_a_mark_is_read() -> None:
    (item,) = items(TableSource(), table("image,note\nä.jpg,é\n".encode("utf-16")))
    assert (item.uri, dict(item.metadata)) == ("ä.jpg", {"note": "é"})


def test_a_file_name_in_latin_1_is_found_on_a_disk_with_utf_8() -> None:
    touch("käfer.jpg")
    (item,) = items(TableSource(), table(b"image\nk\xe4fer.jpg\n"))
    assert item.path == Path("käfer.jpg")


def test_a_table_without_an_image_column_is_refused_with_its_columns_and_the_allowed_ones() -> None:
    address = table("photo,genus\n1.jpg,Anas\n")
    assert TableSource().takes(address)
    with pytest.raises(SourceError) as caught:
        list(TableSource().items(address))
    assert str(caught.value) == (
        "the table t.csv has no image column: it has photo, genus; one must be called image, path, file, filepath, uri, "
        "or be named with --column image=photo"
    )


def test_numbers_of_barcode_clusters_are_not_taken_for_images() -> None:
    rows = "".join(f"P{n}\t{n}.jpg\tBOLD:AAA000{n}\n" for n in range(3))
    address = table("processid\timage_file\turi\n" + rows)
    with pytest.raises(SourceError, match=r"holds barcode index numbers of BOLD, .*--column image=image_file"):
        list(TableSource().items(address))
    items = list(TableSource().items(address, ListingOptions(column=("image=image_file",))))
    assert [item.uri for item in items] == ["0.jpg", "1.jpg", "2.jpg"]


def test_parquet_is_known_by_its_content_and_keeps_its_types() -> None:
    columns = {
        "image": ["1.jpg", None, "2.jpg"],
        "captured_at": pa.array([datetime(2021, 4, 11, 20, 43, 9)] * 3, pa.timestamp("ns")),
        "count": [3, 1, None],
        "score": [0.5, 1.0, float("nan")],
        "names": [["a", "b"], [], None],
    }
    parquet.write_table(pa.table(columns), "t.parquet")
    Path("t.parquet").rename("table")
    assert TableSource().takes("table")
    one, two = (item for item in TableSource().items("table") if isinstance(item, MediaItem))
    assert one.captured_at == datetime(2021, 4, 11, 20, 43, 9)
    assert type(one.captured_at) is datetime
    assert dict(one.metadata) == {"count": 3, "score": 0.5, "names": ["a", "b"]}
    assert dict(two.metadata) == {}
    assert [item.uri for item in unlisted(TableSource(), "table")] == ["table#row=2"]


def test_a_damaged_parquet_file_is_an_error_that_names_it() -> None:
    with pytest.raises(SourceError, match=r"the table t\.parquet cannot be read as Parquet"):
        list(TableSource().items(table(b"PAR1 and no more", "t.parquet")))


def test_a_long_table_is_read_on_demand() -> None:
    address = table("image\n" + "".join(f"{n}.jpg\n" for n in range(20_000)))
    found = TableSource().items(address)
    assert [next(found).uri for _ in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert sum(1 for _ in found) == 19_997


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_a_table_is_left_to_other_sources(content: bytes) -> None:
    assert not TableSource().takes(table(content, "a.jpg"))


# -- standard input ----------------------------------------------------------------------------------------------------


def test_standard_input_is_one_path_a_line_in_bytes() -> None:
    source = StandardInputSource(io.BytesIO(b"a.jpg\r\n\n  \nb c .jpg\n\xff.jpg\nlast.jpg"))
    assert source.takes("-")
    assert not source.takes("a.jpg")
    found = items(source, "-")
    assert [item.uri for item in found] == ["a.jpg", "b c .jpg", "%FF.jpg", "last.jpg"]
    assert found[2].path is not None
    assert os.fsencode(found[2].path) == b"\xff.jpg"


def test_standard_input_without_line_ends_is_refused_at_the_limit_of_a_line() -> None:
    class Zeros(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size in range(1, LINE_CHARACTERS + 2)
            return bytes(size)

        def __next__(self) -> bytes:
            raise AssertionError("a line without a limit")

    with pytest.raises(SourceError, match=r"standard input, line 1: a line of more than 4,194,304 characters"):
        items(StandardInputSource(Zeros()), "-")


# -- all kinds together ------------------------------------------------------------------------------------------------


def test_each_address_goes_to_the_first_source_that_takes_it() -> None:
    touch("p/1.jpg", "named.dat")
    table("image\nx.jpg\n", "t.csv")
    found = Listing(["named.dat", "p", "t.csv", "named.dat"], create_plugin_manager(installed=False).sources())
    assert [item.uri for item in found] == ["named.dat", "p/1.jpg", "x.jpg", "named.dat"]


def test_a_text_named_jpg_is_an_image_to_be_tried_and_no_table() -> None:
    assert [
        item.uri
        for item in Listing([table("hello, world\n", "a.jpg")], create_plugin_manager(installed=False).sources())
    ] == ["a.jpg"]


def test_a_missing_address_is_refused_before_anything_is_listed() -> None:
    touch("a.jpg")
    with pytest.raises(SourceError) as caught:
        Listing(["a.jpg", "gone"], create_plugin_manager(installed=False).sources())
    assert str(caught.value) == (
        "gone does not exist; give a path of one of these kinds: standard input, Camtrap DP package, Darwin Core archive, "
        "Wildlife Insights images, "
        "MegaDetector results (.json), SpeciesNet predictions (.json), PyTorch-Wildlife detections (.json), shards, folder, "
        "Timelapse table, AddaxAI table, MegaDetector table, table of export, table (.csv, .tsv, .xlsx, .parquet), file"
    )


def test_an_address_that_no_source_takes_says_which_there_are() -> None:
    touch("a.jpg")
    with pytest.raises(SourceError, match=r"a\.jpg cannot be listed; give one of these kinds: folder"):
        Listing(["a.jpg"], [FolderSource()])


def test_sources_import_neither_torch_nor_pandas_nor_pyarrow() -> None:
    program = (
        "import sys\nfrom bioclip_plugin.plugins import create_plugin_manager\ncreate_plugin_manager(installed=False).sources()\n"
        "import bioclip_plugin.items.metadata\n"
        "print([name for name in ('torch', 'pandas', 'pyarrow', 'exifread') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_single_file_is_taken_whatever_its_suffix() -> None:
    touch("scan.001")
    assert FilesSource().takes("scan.001")
    assert not FilesSource().takes("gone")
    assert uris(FilesSource(), "scan.001") == ["scan.001"]


@pytest.mark.parametrize(
    "text", ['{"annotations": []}', '[{"file": "a.jpg"}]', '\ufeff  {"images":[{"id":1,"file_name":"a.jpg",', "{"]
)
def test_json_of_no_kind_that_is_known_is_no_image(text: str) -> None:
    Path("x.json").write_text(text, "utf-8")
    with pytest.raises(
        SourceError, match=r"x\.json is JSON of an unknown kind: .*MegaDetector.*SpeciesNet.*Camtrap DP"
    ):
        Listing(["x.json"], create_plugin_manager(installed=False).sources())


@pytest.mark.shared_data
def test_the_collections_list_every_image() -> None:
    data = Path(os.environ["BIOCLIP_DATA"]) / "data"
    for name, count in (("leaves", 990), ("reef_fish", 1302)):
        folder = set(uris(FolderSource(), os.fspath(data / name / "images")))
        from_table = uris(TableSource(), os.fspath(data / name / "collection.csv"))
        assert len(folder) == count
        assert len(from_table) == count
        assert set(from_table) == folder


def test_a_table_with_half_a_box_is_refused_instead_of_giving_whole_images(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,bboxX,bboxY,bboxWidht,bboxHeight\na.jpg,0.1,0.1,0.5,0.5\n")
    with pytest.raises(SourceError, match="only bboxX, bboxY, bboxHeight"):
        list(TableSource().items(str(tmp_path / "boxes.csv")))


QUOTED = [
    ('image,note\na.jpg,x\n"b.jpg,x\nc.jpg,"y"\nd.jpg,x\n', ["a.jpg", '"b.jpg', "c.jpg", "d.jpg"]),
    ('image,note\na.jpg,x\n"b.jpg,x\nc.jpg,x\n', ["a.jpg", '"b.jpg', "c.jpg"]),
    ('image,note\na.jpg,x\nb.jpg,"x\nc.jpg,x\nd.jpg,x\n', ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]),
    (
        'image,note\na.jpg,x\nb.jpg,"x\n' + "".join(f"{n}.jpg,x\n" for n in range(20_000)),
        ["a.jpg", "b.jpg", *(f"{n}.jpg" for n in range(20_000))],
    ),
]


@pytest.mark.parametrize(("text", "images"), QUOTED)
@pytest.mark.parametrize("limit", [1 << 17, 1 << 30])
def test_an_unclosed_quotation_mark_is_text_and_swallows_no_row(
    text: str, images: list[str], limit: int, request: pytest.FixtureRequest
) -> None:
    before = csv.field_size_limit(limit)  # the limit is process-wide: frictionless, for one, raises it
    request.addfinalizer(lambda: csv.field_size_limit(before))
    Path("t.csv").write_text(text)
    options = ListingOptions()
    assert [item.uri for item in TableSource().items("t.csv", options)] == images
    assert options.findings.count(STRAY) >= 1


def test_a_line_that_cannot_be_read_is_named_and_the_next_ones_are_listed() -> None:
    Path("t.csv").write_text('image,note,more\na.jpg,x,y\nb.jpg,"x\nc.jpg,x,y\n')
    assert uris(TableSource(), "t.csv") == ["a.jpg", "c.jpg"]
    (trouble,) = unlisted(TableSource(), "t.csv")
    assert trouble.uri == "t.csv#row=2"
    assert trouble.reason == "row 2 (line 3) cannot be read: a quotation mark is not closed in line 3"


def test_quoted_cells_of_several_lines_and_a_last_mark_that_swallows_nothing_are_read() -> None:
    Path("t.csv").write_text('image,note\na.jpg,"one\r\ntwo"\n"b, c.jpg","x\ny"\nd.jpg,"x')
    found = items(TableSource(), "t.csv")
    assert [item.uri for item in found] == ["a.jpg", "b, c.jpg", "d.jpg"]
    assert found[0].metadata == {"note": "one\r\ntwo"}


def test_a_header_whose_quotation_mark_is_not_closed_is_text() -> None:
    Path("t.csv").write_text('image,"note\na.jpg,x\nb.jpg,y\n')
    assert [dict(item.metadata) for item in items(TableSource(), "t.csv")] == [{'"note': "x"}, {'"note': "y"}]
