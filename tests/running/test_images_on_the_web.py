"""Images on the web in a listing and in a stream, without a network: listed as they are, refused with one line, and never read."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from darwin_samples import archive
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin import FetchOptions, MediaItem, Session, create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.fetching.schemes import scheme_of
from bioclip_plugin.formats.darwin_core.read import DarwinCoreSource
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import Place, Unlisted
from bioclip_plugin.items.web import address_of, addresses_in, host_of, is_web_address, shared_uri
from bioclip_plugin.running.listing import Listing, source_of
from bioclip_plugin.sources.files import StandardInputSource
from bioclip_plugin.testing import FakeModel

WRITTEN = [
    "https://example.org/a%20b.jpg", "https://example.org/a b.jpg", "HTTP://Example.org/%C3%BC.jpg?x=1&y=2#z", "https://example.org/ü.jpg",
    "https://example.org/100%.jpg",
]  # fmt: skip


def listed(*addresses: str, options: ListingOptions | None = None) -> list[MediaItem | Unlisted]:
    with Listing(addresses, create_plugin_manager(installed=False).sources(), options) as listing:
        return list(listing)


def table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(("image,catalogNumber,country", *rows)) + "\n", encoding="utf-8")
    return str(path)


def test_an_address_is_its_own_uri_as_it_is_written_in_every_way_in(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", *(f'"{address}",{n},BE' for n, address in enumerate(WRITTEN)))
    lines = io.BytesIO("\n".join(WRITTEN).encode())
    boxes = {"images": [{"file": address, "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}]}
                        for address in WRITTEN],
             "detection_categories": {"1": "animal"}, "info": {"format_version": "1.4"}}  # fmt: skip
    (tmp_path / "md.json").write_text(json.dumps(boxes))
    entries = [
        *listed(file), *listed(*WRITTEN), *StandardInputSource(lines).items("-"), *listed(str(tmp_path / "md.json"))
    ]  # fmt: skip
    assert [entry.uri for entry in entries] == 4 * WRITTEN
    assert all(isinstance(entry, MediaItem) for entry in entries)
    assert [len(entry.regions) for entry in entries if isinstance(entry, MediaItem)] == [0] * 15 + [1] * 5


def test_a_cell_of_several_addresses_is_split_only_in_front_of_an_address(tmp_path: Path) -> None:
    iiif = "https://example.org/iiif/2/a/full/!200,200/0/default.jpg"
    for separator in (" | ", ";", ", ", " ", "|"):
        file = table(
            tmp_path / "t.csv",
            f'"{separator.join([iiif, "https://example.org/get?id=1;2", "https://example.org/b"])}",1,BE',
        )
        assert [entry.uri for entry in listed(file)] == [
            iiif,
            "https://example.org/get?id=1;2",
            "https://example.org/b",
        ], separator


OTHERS = [
    ("gs://bucket/a.jpg", "is in a cloud store, and gs: addresses are not fetched: copy its file"),
    ("S3://bucket/a.jpg", "is in a cloud store, and s3: addresses are not fetched: copy its file"),
    ("ftp://host/a.jpg", "is on a file server, and ftp: addresses are not fetched: copy its file"),
    ("data+x://bucket/a.jpg", r"is an address of another kind, and data\+x: addresses are not fetched: copy its file"),
    (
        "blob:https://example.org/1-2",
        "is an address inside a browser, .* give the https:// address of the image, or save it",
    ),
    (
        "data:image/png;base64," + "A" * 5000,
        "^(row 1: )?data:.{,94}… is an image written as text, .* save it as a file",
    ),
    ("https:///a.jpg", "has no host: an address on the web is https://HOST/PATH$"),
]


@pytest.mark.parametrize(("address", "reason"), OTHERS)
def test_an_address_that_is_neither_http_nor_https_is_refused_with_what_it_is_and_what_to_give(
    tmp_path: Path, address: str, reason: str
) -> None:
    (entry,) = listed(table(tmp_path / "t.csv", f'"{address}",1,BE'))
    assert isinstance(entry, Unlisted)
    assert re.search(reason, entry.reason), entry.reason
    with pytest.raises(UsageError, match=reason.replace("^(row 1: )?", "")) as raised:
        located(address, tmp_path, ListingOptions(lists_addresses=True))
    assert "--fetch" not in str(raised.value) + entry.reason
    with pytest.raises(SourceError, match=reason.replace("(row 1: )?", "")):
        source_of(address, create_plugin_manager(installed=False).sources())


@pytest.mark.parametrize(
    ("address", "reason"),
    [*OTHERS, ("file:///nowhere/a.jpg", "is the address of a file, .* give its path"), ("http://", "no host")],
)
def test_a_host_hears_what_an_address_is_that_is_not_fetched(address: str, reason: str) -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    with Session(model="fake", labels=("a red fish", "a blue fish"), plugins=manager) as session:
        for given in (address, MediaItem(address)) if "data:" not in address else (address,):
            answer = session.classify(given)
            assert answer.failure is not None
            assert re.search(reason, answer.failure.reason), answer.failure.reason


def test_a_file_whose_name_looks_like_an_address_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s3:/bucket").mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save("s3:/bucket/a.png")
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    with Session(model="fake", labels=("a red fish", "a blue fish"), plugins=manager) as session:
        assert session.classify("s3://bucket/a.png").failure is None
    assert source_of("s3://bucket/a.png", manager.sources()).name == "file"


def test_a_source_alone_refuses_an_address_with_the_way_to_a_file(tmp_path: Path) -> None:
    (entry,) = TableSource().items(table(tmp_path / "t.csv", "https://example.org/x/a.jpg?s=/1,1,BE"))
    assert isinstance(entry, Unlisted)
    assert entry.reason == (
        "row 1: https://example.org/x/a.jpg?s=/1 is on the web, and a file is needed (only classify and embed fetch, with --fetch "
        "FOLDER): download it, and replace its beginning, such as --replace-prefix https://example.org/x=FOLDER"
    )


def test_a_host_hears_in_one_line_that_an_address_is_not_fetched() -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    with Session(model="fake", labels=("a red fish", "a blue fish"), plugins=manager) as session:
        answer = session.classify("https://example.org/a%20b.jpg")
    assert answer.item.uri == "https://example.org/a%20b.jpg"
    assert answer.failure is not None
    assert answer.failure.stage == "fetch"
    assert answer.failure.reason == "the image is on the web, and nothing is fetched without Session(fetch=FOLDER)"


def test_an_image_that_a_session_did_not_ask_for_may_be_listed_as_a_file_later(tmp_path: Path) -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    folder = archive(
        tmp_path / "dwca",
        [{"coreid": "s1", "identifier": "https://example.org/a.png"}],
        [{"id": "s1", "country": "BE"}],
    )
    options: dict[str, Any] = {"model": "fake", "labels": ("a red fish", "a blue fish"), "plugins": manager}
    failures = []
    for _ in range(2):
        with Session(**options, store=tmp_path / "r.db") as session, session.listing([str(folder)]) as listing:
            assert session.store is not None
            run = session.begin_run([str(folder)])
            failures.append([answer.failure is None for answer in session.pipeline(run).answers(listing)])
            assert session.store.summary(run).listed == 1
        Image.new("RGB", (20, 20), "red").save(folder / "a.png")
    assert failures == [[False], [True]]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"fetch_options": {"fetch_rate": 1}}, r"give FetchOptions\(…\), for example FetchOptions\(fetch_rate=1\)"),
        ({"fetch_options": 5}, r"^fetch_options 5: give FetchOptions"),
        ({"fetch_options": FetchOptions}, "give FetchOptions"),
        ({"fetch": 5}, "^fetch 5: must be a path, or None$"),
        ({"fetch": b"images"}, "must be a path"),
        ({"fetch": True}, "must be a path"),
        ({"fetch": ""}, "^fetch '': must be a path"),
    ],
)
def test_options_of_fetching_of_another_type_are_refused_with_what_to_give(
    options: dict[str, Any], advice: str
) -> None:
    with pytest.raises(UsageError, match=advice):
        Session(model="fake", labels=("a red fish",), plugins=create_plugin_manager(installed=False), **options)


@pytest.mark.parametrize("lists_addresses", [True, False])
def test_every_reader_takes_the_file_in_the_folder_that_replaces_the_beginning_of_an_address(
    tmp_path: Path, lists_addresses: bool
) -> None:
    address, file = "https://example.org/x/a%20b.png", tmp_path / "here" / "a b.png"
    file.parent.mkdir()
    Image.new("RGB", (20, 20), "red").save(file)
    package = tmp_path / "package"
    package.mkdir()
    tables = {
        "deployments": "deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n"
        "d1,50.5,4.5,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z\n",
        "media": f"mediaID,deploymentID,timestamp,filePath,filePublic,fileMediatype\nm1,d1,2024-01-02T00:00:00Z,{address},true,image/png\n",
        "observations": "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType\n",
    }  # fmt: skip
    for name, text in tables.items():
        (package / f"{name}.csv").write_text(text)
    described = [{"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource"} for name in tables]
    (package / "datapackage.json").write_text(json.dumps({
        "name": "p", "id": "p", "resources": described,
        "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/camtrap-dp-profile.json",
    }))  # fmt: skip
    images = tmp_path / "images.csv"
    images.write_text(
        "project_id,deployment_id,image_id,filename,location,timestamp,common_name,genus,species\n"
        f"1,d1,i1,c.png,{address},2024-01-02 00:00:00,Red Fox,Vulpes,vulpes\n"
    )
    about = {"info": {"format_version": "1.3"}, "detection_categories": {"1": "animal"}}
    boxes = {"images": [{"file": address, "detections": []}], **about}
    (tmp_path / "md.json").write_text(json.dumps(boxes))
    options = ListingOptions(
        lists_addresses=lists_addresses, replace_prefix=(f"https://example.org/x={file.parent}",), allow_outside=True
    )
    rows = [{"coreid": "s1", "identifier": address}]
    inputs = (
        table(tmp_path / "t.csv", f"{address},1,BE"), archive(tmp_path / "dwca", rows), package, images, tmp_path / "md.json",
    )  # fmt: skip
    for one in map(str, inputs):
        source = source_of(one, create_plugin_manager(installed=False).sources())
        assert [getattr(entry, "path", entry) for entry in source.items(one, options)] == [file], source.name


def test_an_image_that_shows_two_specimens_is_an_item_of_each_and_one_address(tmp_path: Path) -> None:
    media = [{"coreid": specimen, "identifier": "https://example.org/a.jpg"} for specimen in ("s1", "s2", "s2", "s1")]
    folder = archive(tmp_path / "dwca", media, [{"id": "s1", "country": "BE"}, {"id": "s2", "country": "FR"}])
    findings = Findings()
    entries = list(DarwinCoreSource().items(str(folder), ListingOptions(lists_addresses=True, findings=findings)))
    items = [entry for entry in entries if isinstance(entry, MediaItem)]
    assert [(item.uri, item.place) for item in items] == [
        ("https://example.org/a.jpg", Place("BE")), ("https://example.org/a.jpg#occurrence=s2", Place("FR")),
    ]  # fmt: skip
    assert {address_of(item.uri) for item in items} == {"https://example.org/a.jpg"}
    assert any("several specimens" in line and "'s1' and 's2'" in line for line in findings.lines())


def test_a_table_whose_addresses_are_in_another_column_names_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("catalogNumber,image_url\n1,https://example.org/get?id=1\n")
    with pytest.raises(SourceError, match="--column image=image_url"):
        listed(str(tmp_path / "t.csv"))
    options = ListingOptions(column=("image=image_url",))
    assert [entry.uri for entry in listed(str(tmp_path / "t.csv"), options=options)] == ["https://example.org/get?id=1"]


ADDRESSES = st.builds(
    "{}://{}/{}".format,
    st.sampled_from(["http", "https", "HTTP", "Https"]),
    st.sampled_from(["example.org", "Example.ORG:8080", "ü.example", "127.0.0.1"]),
    st.text(st.characters(codec="utf-8", exclude_characters="#|;,", exclude_categories=["Cc", "Cs", "Z"]), max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ADDRESSES, min_size=1, max_size=4), st.sampled_from(["|", " | ", ";", ", ", " "]))
def test_addresses_in_a_cell_come_back_as_they_were_written(addresses: list[str], separator: str) -> None:
    assert addresses_in(separator.join(addresses)) == addresses
    assert all(is_web_address(address) and not scheme_of(address) for address in addresses)


@settings(max_examples=60, deadline=None)
@given(ADDRESSES, st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable()))
def test_the_specimen_in_a_fragment_never_reaches_a_server(address: str, key: str) -> None:
    uri = shared_uri(address, "occurrence", key)
    assert uri != address
    assert address_of(uri) == address
    assert address_of(shared_uri(uri, "row", "7")) == address


@pytest.mark.parametrize(
    "address", ["https://[::1", "https://example.org:x/a.jpg", "https://user:secret@example.org/a.jpg"]
)
def test_a_host_in_messages_never_raises_and_never_shows_a_password(address: str) -> None:
    assert "secret" not in host_of(address)
