"""Samples of published shards: how members become samples, and what the texts of a sample say of its image."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from published_samples import image, sample, write_tar

from bioclip_core.captions import Caption
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_training.published import sample_texts, samples
from bioclip_training.published.placing import KnownRanks
from bioclip_training.published.sample_texts import Described, described, tagged_ranks
from bioclip_training.published.samples import Sample, samples_of, split_name

NEMO = "Animalia Chordata Actinopterygii Perciformes Pomacentridae Pomacentrus moluccensis"


def read(path: Path) -> tuple[list[Sample], Findings, Findings]:
    findings, skipped = Findings(), Findings()
    return list(samples_of(path, findings, skipped)), findings, skipped


def meaning(**texts: str) -> tuple[Described, Findings]:
    findings = Findings()
    return described({name.replace("__", "."): text for name, text in texts.items()}, "s.tar#k", findings), findings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("./0001.sci.txt", ("0001", "sci.txt")),
        ("a.b/22.05.png", ("a.b/22", "05.png")),  # webdataset issue 237: dots in folders do not end a key
        (".hidden", ("", "")),
        ("README", ("", "")),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_base_name(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_members_in_any_order_are_joined_by_their_key(tmp_path: Path) -> None:
    # Ray issue 44068: a reader that groups neighbours gives four halves here
    tar = write_tar(tmp_path / "x.tar", [("0.jpg", image()), ("1.jpg", image()), ("0.txt", b"zero"), ("1.txt", b"one")])
    found, findings, skipped = read(tar)
    assert [(one.key, len(one.images), one.texts) for one in found] == [
        ("0", 1, {"txt": "zero"}),
        ("1", 1, {"txt": "one"}),
    ]
    assert findings.found() == [(samples.OUT_OF_ORDER, 2, "x.tar#0.txt")]
    assert not skipped


def test_a_member_that_comes_twice_counts_once(tmp_path: Path) -> None:
    # webdataset issue 286 ends with an error there
    tar = write_tar(
        tmp_path / "x.tar", [*sample("a", {"txt": "first"}), *sample("b", {}), *sample("a", {"txt": "late"})]
    )
    found, _, skipped = read(tar)
    assert [(one.key, one.texts) for one in found] == [("a", {"txt": "first"}), ("b", {})]
    assert skipped.found() == [(samples.DUPLICATES, 2, "x.tar#a.jpg")]


def test_what_is_no_sample_is_skipped_with_a_reason(tmp_path: Path) -> None:
    tar = tmp_path / "x.tar"
    write_tar(
        tar,
        [
            ("a.txt", b"no image"),
            ("b.jpg", b""),
            ("b.txt", b"b"),
            ("._c.jpg", b"mac"),
            ("README", b"r"),
            ("d.JPG", image()),
        ],
    )
    with tarfile.open(tar, "a") as more:
        link = tarfile.TarInfo("e.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "d.JPG"
        more.addfile(link)
        folder = tarfile.TarInfo("inner.d")
        folder.type = tarfile.DIRTYPE
        more.addfile(folder)
    found, _, skipped = read(tar)
    assert [one.key for one in found] == ["d"]
    assert {text: count for text, count, _ in skipped.found()} == {
        samples.EMPTY_IMAGE: 1,
        samples.NO_KEY: 1,
        samples.SPECIAL: 1,
        samples.NO_IMAGE: 2,
    }


@pytest.mark.parametrize("name", ["jpeg", "PNG", "webp", "JPG"])
def test_images_of_every_kind_are_images(tmp_path: Path, name: str) -> None:
    found, _, _ = read(write_tar(tmp_path / "x.tar", [(f"a.{name}", image())]))
    assert list(found[0].images) == [f"a.{name}"]


def test_several_images_of_a_sample_are_said_and_have_their_own_texts(tmp_path: Path) -> None:
    members = [("22.05.png", image()), ("22.06.png", image()), ("22.05.txt", b"five"), ("22.json", b"{}")]
    (found,), findings, _ = read(write_tar(tmp_path / "x.tar", members))
    assert found.texts_of("22.05.png") == {"txt": "five"}
    assert found.texts_of("22.06.png") == {"05.txt": "five", "json": "{}"}
    assert findings.found() == [(samples.SEVERAL_IMAGES, 1, "x.tar#22: 2 images")]


def test_texts_that_are_not_utf8_are_said_and_not_used(tmp_path: Path) -> None:
    (found,), findings, _ = read(write_tar(tmp_path / "x.tar", sample("a", {"txt": b"caf\xe9", "json": "\ufeff{}"})))
    assert found.texts == {"json": "{}"}
    assert findings.found() == [(samples.NOT_UTF_8, 1, "x.tar#a.txt")]


def test_a_truncated_shard_gives_the_samples_before_the_cut(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [*sample("a", {"txt": "a"}), *sample("b", {"txt": "b"})])
    with tarfile.open(tar) as whole:
        cut = whole.getmember("b.jpg").offset_data + 10
    tar.write_bytes(tar.read_bytes()[:cut])
    found, findings, _ = read(tar)
    assert [one.key for one in found] == ["a"]
    assert findings.found() == [(samples.TRUNCATED, 1, "x.tar: it ends within b.jpg")]


def test_a_shard_that_was_cut_between_two_members_is_said(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [*sample("a", {"txt": "a"}), *sample("b", {"txt": "b"})])
    with tarfile.open(tar) as whole:
        cut = whole.getmember("b.jpg").offset
    data = tar.read_bytes()
    for end in (cut, cut - 100):  # in the padding of the member before
        tar.write_bytes(data[:end])
        found, findings, _ = read(tar)
        assert ([one.key for one in found], findings.found()) == (["a"], [(samples.NO_END, 1, "x.tar")])


def test_long_names_in_pax_headers_are_read(tmp_path: Path) -> None:
    key = "ein/sehr/" + "langer" * 40 + "ä"
    (found,), _, _ = read(write_tar(tmp_path / "x.tar", sample(key, {"txt": "t"}), format=tarfile.PAX_FORMAT))
    assert (found.key, found.texts) == (key, {"txt": "t"})


@pytest.mark.parametrize(("data", "said"), [(b"", "it is empty"), (b"<html>404</html>" * 64, "is not a tar file")])
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(SourceError, match=said):
        read(tmp_path / "x.tar")


def test_a_compressed_shard_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", sample("a", {}), "w:gz")
    with pytest.raises(SourceError, match="is compressed"):
        read(tmp_path / "x.tar")


def test_tagged_captions_state_every_rank_even_with_holes() -> None:
    text = "a photo of kingdom Animalia phylum Chordata order Perciformes genus Pomacentrus species moluccensis"
    found, _ = meaning(
        taxontag__txt=f"{text}.", taxonomic_name__txt="Animalia Chordata Perciformes Pomacentrus moluccensis"
    )
    assert found.ranks == ("Animalia", "Chordata", "", "Perciformes", "", "Pomacentrus", "moluccensis")
    with_common = tagged_ranks(f"{text.replace('moluccensis', 'sp. nov. 2')}.")
    assert with_common[6] == "sp. nov. 2"
    assert tagged_ranks("a photo of genus A kingdom B.") == ("",) * 7  # not in the order of ranks


def test_a_tag_that_contradicts_the_taxonomic_name_is_not_used() -> None:
    found, _ = meaning(
        taxontag__txt="a photo of kingdom Animalia",
        taxonomic_name__txt=NEMO,
        scientific_name__txt="Pomacentrus moluccensis",
    )
    assert found.ranks == tuple(NEMO.split())


def test_captions_alone_are_enough_for_names() -> None:
    found, _ = meaning(
        taxon__txt=f"a photo of {NEMO}.",
        sci__txt="a photo of Pomacentrus moluccensis.",
        com__txt="a photo of lemon damsel.",
    )
    assert (found.ranks, found.common_name) == (tuple(NEMO.split()), "lemon damsel")


def test_a_scientific_name_in_place_of_a_common_one_gives_no_common_captions() -> None:
    # make_wds writes the scientific name where a taxon has no common one
    name = "Pomacentrus moluccensis"
    found, findings = meaning(
        common_name__txt=name, com__txt=f"a photo of {name}.", sci__txt=f"a photo of {name}.",
        sci_com__txt=f"a photo of {name} with common name {name}.", scientific_name__txt=name, taxonomic_name__txt=NEMO,
    )  # fmt: skip
    assert (found.common_name, found.captions) == ("", {Caption.SCIENTIFIC: f"a photo of {name}."})
    assert findings.count(sample_texts.REPEATED) == 1


def test_json_of_img2dataset_with_nan_is_read() -> None:
    cells = json.dumps({"caption": float("nan"), "url": "http://x/a.jpg", "width": 3, "TEXT": "a dog"})
    found, findings = meaning(json=cells)
    assert (found.caption, found.cells["url"], found.has_taxon) == ("a dog", "http://x/a.jpg", False)
    assert findings.count(sample_texts.NOT_FINITE) == 1


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_json_that_cannot_be_read_is_said(text: str) -> None:
    found, findings = meaning(json=text, txt="a dog")
    assert (found.caption, findings.count(sample_texts.BAD_JSON)) == ("a dog", 1)


def test_ranks_in_json_lose_the_genus_prefix_of_the_species() -> None:
    found, _ = meaning(
        json=json.dumps({"Kingdom": "Animalia", "Genus": "Turdus", "species": "Turdus merula", "common": "blackbird"})
    )
    assert (found.ranks[5:], found.common_name) == (("Turdus", "merula"), "blackbird")


def test_holes_are_placed_by_the_other_lineages_or_left_open() -> None:
    known = KnownRanks([tuple(NEMO.split()), ("Animalia", "Chordata", "Aves", "", "", "", "")])
    assert known.placed("Animalia Chordata Perciformes Pomacentrus amboinensis", "Pomacentrus amboinensis") == (
        ("Animalia", "Chordata", "", "Perciformes", "", "Pomacentrus", "amboinensis"),
        True,
    )
    # Novidae is at no rank in any other lineage: it is a class, an order or a family
    assert known.placed("Animalia Chordata Novidae Novus unus", "Novus unus") == (
        ("Animalia", "Chordata", "", "", "", "Novus", "unus"),
        False,
    )
    assert known.placed("Animalia Chordata Aves", "") == (("Animalia", "Chordata", "Aves", "", "", "", ""), True)
    assert known.placed("", "Turdus merula") == (("", "", "", "", "", "Turdus", "merula"), True)


def test_a_shard_of_many_members_does_not_keep_them_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_OPEN_SAMPLES", 5)
    tar = write_tar(tmp_path / "x.tar", [member for n in range(20) for member in sample(f"{n:02}", {"txt": str(n)})])
    found, findings, skipped = read(tar)
    assert [one.texts["txt"] for one in found] == [str(n) for n in range(20)]
    assert (list(findings.lines()), list(skipped.lines())) == ([], [])
    assert io.BytesIO(tar.read_bytes()[found[3].images["03.jpg"][0] :]).read(3) == b"\xff\xd8\xff"
