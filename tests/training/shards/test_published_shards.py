"""Published shards as collections: their index, what is said of them, splits, taxa, captions, and what is damaged."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from collections_of_discs import TAXA
from published_samples import image, sample, treeoflife_texts, write_img2dataset, write_tar, write_treeoflife
from pyarrow import parquet

from bioclip_core.captions import Caption
from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.identity import user_cache
from bioclip_core.models import ModelEntry
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.testing import FakeEncoder
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.analysis.run import analyze
from bioclip_training.batches.data import CaptionedImages, open_images
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.run import evaluate
from bioclip_training.published.collections import INDEX_FOLDER
from bioclip_training.published.held import Holder
from bioclip_training.published.opening import ImageOpener
from bioclip_training.published.splits import split_of
from bioclip_training.shards import published_indexing, published_parts
from bioclip_training.shards.collection import open_collection
from bioclip_training.shards.published_captions import PublishedCaptions

MIX = {Caption.TAXONOMIC: 0.5, Caption.COMMON: 0.5}


def parts_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of files that are read from now on."""
    made: list[str] = []
    whole = published_parts.part_of

    def counted(folder: Path, holder: Holder, name: str) -> object:
        made.append(holder.name)
        return whole(folder, holder, name)

    monkeypatch.setattr(published_indexing, "part_of", counted)
    return made


@pytest.mark.parametrize("is_large", [False, True])
def test_shards_of_treeoflife_are_a_collection_with_taxa_and_splits(tmp_path: Path, is_large: bool) -> None:
    write_treeoflife(tmp_path, each=2, is_large=is_large)
    write_treeoflife(tmp_path, each=1, split="val", is_large=is_large)
    catalog = open_collection(tmp_path)
    assert (len(catalog), catalog.parts()) == (18, "train 12 (of which dev 1), val 6")
    expected = [Taxon.of(taxon.lineage, "" if is_large else taxon.common_name) for taxon in TAXA]
    assert set(catalog.taxa) == set(expected)
    assert catalog.encoded(0).size() == (32, 32)
    assert catalog.notes[0].endswith(
        "read as published shards: 18 images in 4 files, 18 with a taxon, split train, val"
    )
    assert catalog.key(0).startswith("train/shard-000000.tar#")


def test_the_index_is_made_once_and_again_for_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_treeoflife(tmp_path, each=2)
    made = parts_made(monkeypatch)
    first = open_collection(tmp_path).identity
    assert sorted(made) == ["train/shard-000000.tar", "train/shard-000001.tar"]
    assert open_collection(tmp_path).identity == first
    assert len(made) == 2
    write_tar(tmp_path / "train" / "shard-000001.tar", sample("a", treeoflife_texts(TAXA[0])))
    os.utime(tmp_path / "train" / "shard-000001.tar", ns=(1, 1))
    assert len(open_collection(tmp_path)) == 7
    assert made[2:] == ["train/shard-000001.tar"]
    (tmp_path / "train" / "shard-000001.tar").unlink()
    catalog = open_collection(tmp_path)
    assert (len(catalog), len(made)) == (6, 3)
    catalog.file.write_bytes(catalog.file.read_bytes()[:-99])  # cut short: it is made again, of the parts
    assert (len(open_collection(tmp_path)), len(made)) == (6, 3)
    data = catalog.file.read_bytes()
    catalog.file.write_bytes(bytes(len(data)))
    with pytest.raises(SourceError, match="delete its folder, and it is made again"):
        open_collection(tmp_path)


def test_a_name_in_several_tars_is_said(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=1, shards=1)
    shutil.copy(tmp_path / "train" / "shard-000000.tar", tmp_path / "train" / "shard-000000 (1).tar")
    catalog = open_collection(tmp_path)
    assert (len(catalog), len({catalog.group(row) for row in range(12)})) == (12, 6)
    assert any(
        "images have the name of one in another tar; " in line and ": 6 (the first: " in line for line in catalog.notes
    )


def test_names_that_are_not_utf8_are_read_and_said(tmp_path: Path) -> None:
    key = "caf\udce9"  # a member called caf, E9
    write_tar(tmp_path / "0.tar", [*sample(key, {"txt": "a cup"}), (f"{key}2.txt", b"alone")])
    catalog = open_collection(tmp_path)
    assert (catalog.column("uri"), catalog.encoded(0).data) == (["0.tar#caf%E9.jpg"], image())
    assert ImageOpener(tmp_path).read("0.tar#caf%E9.jpg") == image()
    assert any("samples without an image: 1 (the first: 0.tar#caf%E92)" in line for line in catalog.notes)
    write_tar(tmp_path / f"{key}.tar", sample("a", {}))
    catalog = open_collection(tmp_path)
    assert any(
        "names that are not UTF-8 and are not read: rename them: 1 (the first: caf%E9.tar)" in line
        for line in catalog.notes
    )
    assert open_collection(tmp_path).notes == catalog.notes


def test_programs_that_need_one_index_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_treeoflife(tmp_path, each=2)
    made = parts_made(monkeypatch)
    monkeypatch.setattr(published_indexing, "_WAIT_S", 0.01)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(open_collection, [tmp_path] * 4))
    assert {len(catalog) for catalog in found} == {12}
    assert sorted(made) == ["train/shard-000000.tar", "train/shard-000001.tar"]


def test_shards_that_were_only_copied_are_the_same_data(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=1)
    first = open_collection(tmp_path)
    before = first.identity
    for tar in (tmp_path / "train").iterdir():
        os.utime(tar, ns=(5, 5))
    again = open_collection(tmp_path)
    assert again.identity == before, "a run on them goes on"
    assert again.notes == first.notes


def test_an_index_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_treeoflife(tmp_path, each=4, shards=4)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(published_indexing, "_finished", full_disk)
        with pytest.raises(OSError, match="No space"):
            open_collection(tmp_path)
    made = parts_made(monkeypatch)
    assert len(open_collection(tmp_path)) == 24
    assert made == []


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    folder = write_treeoflife(tmp_path / "shards", each=1)
    plain = Path.mkdir

    def refused(self: Path, *args: object, **options: object) -> None:
        if self.name == INDEX_FOLDER:
            raise PermissionError(13, "Permission denied")
        plain(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refused)
    catalog = open_collection(folder)
    assert catalog.file.is_relative_to(user_cache())
    assert f"{folder} cannot be written, so its index is in {catalog.file.parent}" in catalog.notes
    assert not (folder / INDEX_FOLDER).exists()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("224x224/train/shard-000000.tar", "train"),
        ("224x224/train_small/shard-000000.tar", "train_small"),
        ("my_val/shard.tar", ""),
        ("val-000001.tar", "val"),
        ("validation/0.tar", "val"),
        ("training.tar", "train"),
        ("00000.tar", ""),
        ("train/val/0.tar", "val"),
    ],
)
def test_folders_and_files_state_splits(name: str, split: str) -> None:
    assert split_of(name) == split


def test_a_collection_without_splits_is_all_train_and_that_is_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "s" / "00000.tar", sample("a", treeoflife_texts(TAXA[0])))
    catalog = open_collection(tmp_path / "s")
    assert catalog.parts().startswith("train 1")
    assert any("nothing states a split" in line for line in catalog.notes)


def test_shards_of_several_splits_side_by_side_stay_apart(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", sample("a", treeoflife_texts(TAXA[0])))
    write_tar(tmp_path / "val-0.tar", sample("b", treeoflife_texts(TAXA[1])))
    write_tar(tmp_path / "extra.tar", sample("c", {"json": json.dumps({"split": "Validation", "genus": "Rubra"})}))
    assert open_collection(tmp_path).column("split") == ["val", "train", "val"]


def test_damaged_tars_are_named_with_what_is_usable(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=2)
    cut = tmp_path / "train" / "shard-000000.tar"
    with tarfile.open(cut) as whole:
        image_at = [member.offset_data for member in whole if member.name.endswith(".jpg")][3]
    cut.write_bytes(cut.read_bytes()[: image_at + 100])
    (tmp_path / "train" / "shard-000002.tar").write_bytes(b"<html>404 Not Found</html>" * 40)
    (tmp_path / "train" / "shard-000003.tar").write_bytes(b"")
    write_tar(tmp_path / "train" / "shard-000004.tar.gz", sample("z", {}), "w:gz")
    catalog = open_collection(tmp_path)
    text = "\n".join(catalog.notes)
    assert (
        "shards are truncated: the samples before that are read: 1 (the first: shard-000000.tar: it ends within "
        in text
    )
    assert "files cannot be read as shards: 2 (the first: the shard " in text
    assert "tars are compressed and are not read: unpack them first: 1 (the first: train/shard-000004.tar.gz)" in text
    assert 6 < len(catalog) < 12


def test_a_folder_in_which_nothing_is_usable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"nothing" * 100)
    with pytest.raises(SourceError, match=r"hold no usable sample: .*is not a tar file"):
        open_collection(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"holds no shards: it lacks shards\.json"):
        open_collection(tmp_path / "empty")


def test_holes_are_filled_from_other_lineages_and_the_rest_is_said(tmp_path: Path) -> None:
    def names(taxonomic: str, scientific: str) -> dict[str, str]:
        return {"taxonomic_name.txt": taxonomic, "scientific_name.txt": scientific}

    whole = TAXA[0].taxonomic_name
    members = [
        *sample("a", names(whole, TAXA[0].scientific_name)),
        *sample("b", names("Fictalia Fictales Fictidae Rubra magna", "Rubra magna")),
        *sample("c", names("Fictalia Newidae Nova una", "Nova una")),
        *sample("d", {}),
    ]
    write_tar(tmp_path / "train-0.tar", members)
    catalog = open_collection(tmp_path)
    found = {catalog.column("source_id")[row]: catalog.taxon(row).lineage for row in range(len(catalog))}
    assert found["b"] == ("Fictalia", "", "", "Fictales", "Fictidae", "Rubra", "magna")
    assert found["c"] == ("Fictalia", "", "", "", "", "Nova", "una")
    text = "\n".join(catalog.notes)
    assert "placed by other lineages of the collection: 1 (the first: Fictalia Fictales Fictidae Rubra magna)" in text
    assert "these words are left out: 1 (the first: Fictalia Newidae Nova una)" in text
    assert "images are without a taxon: 1" in text
    assert len(open_images(tmp_path, "train", dev_fraction=0.0)) == 3, "an image without a taxon is not trained by taxa"


def test_statistics_of_img2dataset_are_compared(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, ["a dog", "a cat"])
    write_img2dataset(tmp_path, ["a cow"], shard=1)
    stats = json.loads((tmp_path / "00000_stats.json").read_text())
    states = {"success": 5, "HTTP Error 500": 1, "HTTP Error 404": 3}
    (tmp_path / "00000_stats.json").write_text(json.dumps({**stats, "count": 9, "successes": 5, "status_dict": states}))
    (tmp_path / "00001_stats.json").unlink()
    text = "\n".join(open_collection(tmp_path).notes)
    assert (
        "addresses have no image, say the _stats.json of their shards: 4 (the first: 00000.tar: HTTP Error 404 (3))"
        in text
    )
    assert "_stats.json states: 1 (the first: 00000.tar has 2 images, and 00000_stats.json says 5)" in text
    assert "they may be unfinished: 1 (the first: 00001.tar)" in text


def test_images_without_a_taxon_are_replayed_by_their_captions_only(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, ["a dog", "a cat", "a dog"])
    images = open_images(tmp_path, "train", is_replay=True)
    assert isinstance(images, CaptionedImages)
    assert (len(images), images.taxa) == (3, ())
    assert images.taxon_of_N[0] == images.taxon_of_N[2] != images.taxon_of_N[1]
    assert images.texts is not None
    assert [images.texts.draw(index, 0.3, MIX) for index in range(3)] == ["a dog", "a cat", "a dog"]
    assert images.texts.distinct() == ["a cat", "a dog"]
    assert (images.texts.distinct(2), images.texts.distinct(1)) == (["a cat", "a dog"], None)
    with pytest.raises(SourceError, match="can only be replayed by their captions"):
        open_images(tmp_path, "train")
    fake = {"fake": ModelEntry("fake", "fake", open_encoder=lambda _compute: FakeEncoder())}
    given: dict[str, Any] = {"data": str(tmp_path), "model": "fake", "output": str(tmp_path / "out")}
    for measure in (
        lambda: evaluate(EvaluationConfig(**given, splits=("all",)), fake),
        lambda: analyze(AnalysisConfig(**given, splits=("all",)), fake),
    ):
        with pytest.raises(SourceError, match=r"no image of .* has a taxon: its shards state neither names nor ranks"):
            measure()


def test_output_formats_parquet_and_files_of_img2dataset_are_read(tmp_path: Path) -> None:
    rows = {
        "key": ["000000000", "000000001", "000000002"],
        "jpg": pa.array([image("red"), None, image("blue")], pa.binary()),
        "txt": ["a dog", None, "a cat"],
        "status": ["success", "failed_to_download", "success"],
    }
    (tmp_path / "p").mkdir()
    parquet.write_table(pa.table(rows), tmp_path / "p" / "00000.parquet")
    catalog = open_collection(tmp_path / "p")
    assert catalog.column("uri") == ["00000.parquet#0", "00000.parquet#2"]
    assert (catalog.encoded(1).data, catalog.table.column("caption").to_pylist()) == (image("blue"), ["a dog", "a cat"])
    assert any("rows without an image (failed_to_download): 1" in line for line in catalog.notes)
    folder = tmp_path / "f" / "00000"
    folder.mkdir(parents=True)
    for name, data in [
        ("1.jpg", image("red")),
        ("1.txt", b"a dog"),
        ("1.json", b"{}"),
        ("2.txt", b"alone"),
        ("2.json", b"{}"),
    ]:
        (folder / name).write_bytes(data)
    catalog = open_collection(tmp_path / "f")
    assert (catalog.column("uri"), catalog.encoded(0).data) == (["00000/1.jpg"], image("red"))
    assert any("samples without an image: 1" in line for line in catalog.notes)


def test_captions_of_biocap_are_joined_by_the_ids_of_images(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=1, shards=1)
    catalog = open_collection(tmp_path)
    before, ids = catalog.identity, catalog.column("source_id")
    rows = {
        "uuid": [ids[2], "another", ids[0]],
        "caption": ["a disc on grey", "no", "a red disc"],
        "description": ["", "", ""],
    }
    parquet.write_table(pa.table(rows), tmp_path / "uuid_caption_description.parquet")
    captioned = open_collection(tmp_path)
    assert captioned.table.column("caption").to_pylist() == ["a red disc", "", "a disc on grey", "", "", ""]
    assert any(
        "captions are taken from uuid_caption_description.parquet by the ids of images: 2" in line
        for line in captioned.notes
    )
    assert captioned.identity != before


def test_texts_of_any_name_are_captions_if_a_sample_has_one(tmp_path: Path) -> None:
    # open_clip issue 480: members input.jpg and outputs.txt, of which its loader takes neither
    write_tar(
        tmp_path / "0.tar",
        [
            ("s1.input.jpg", image()),
            ("s1.outputs.txt", b"a dog"),
            ("s2.jpg", image()),
            ("s2.a.txt", b"a"),
            ("s2.b.txt", b"b"),
        ],
    )
    catalog = open_collection(tmp_path)
    assert catalog.table.column("caption").to_pylist() == ["a dog", ""]


def test_a_single_tar_or_parquet_file_is_a_collection(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, ["a dog", "a cat"])
    write_img2dataset(tmp_path, ["a cow"], shard=1)
    parquet.write_table(pa.table({"image": [image()], "caption": ["a bird"]}), tmp_path / "birds.parquet")
    for name, captions in (("00000.tar", ["a dog", "a cat"]), ("birds.parquet", ["a bird"])):
        images = open_images(tmp_path / name, "train", is_replay=True)
        assert images.texts is not None
        assert images.texts.distinct() == sorted(captions)
        assert images.encoded(0).size()[0] > 10


def test_a_table_of_images_with_captions_is_replayed_and_one_of_addresses_is_not(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(image())
    (tmp_path / "captions.csv").write_text("file_name,text\nimages/1.jpg,a dog\nimages/2.jpg,a cat\n../x.jpg,a cow\n")
    images = open_images(tmp_path / "captions.csv", "train", is_replay=True)
    assert (images.key(0), images.encoded(0).data) == ("images/1.jpg", image())
    assert any(
        "rows without an image file: 2 (the first: captions.csv, row 2: 'images/2.jpg')" in line
        for line in images.look_first()
    )
    (tmp_path / "laion.csv").write_text("URL,TEXT\nhttp://x/1.jpg,a dog\n")
    with pytest.raises(SourceError, match="lists addresses of images, and no images: fetch them with img2dataset"):
        open_collection(tmp_path / "laion.csv")


def test_captions_as_published_are_drawn_by_their_shares_and_degenerate_ones_never(tmp_path: Path) -> None:
    bare = Taxon.of(TAXA[1].lineage)
    write_tar(tmp_path / "train-0.tar", [*sample("a", treeoflife_texts(TAXA[0])), *sample("b", treeoflife_texts(bare)),
                                         *sample("c", {**treeoflife_texts(TAXA[2]), "txt": "a red disc"})])  # fmt: skip
    images = open_images(tmp_path, "train", captions="published", dev_fraction=0.0)
    texts = images.texts
    assert texts is not None
    assert texts.draw(0, 0.1, MIX) == f"a photo of {TAXA[0].taxonomic_name}."
    assert texts.draw(0, 0.9, MIX) == f"a photo of {TAXA[0].common_name}."
    assert {texts.draw(1, chance, MIX) for chance in (0.1, 0.9)} == {f"a photo of {bare.taxonomic_name}."}
    assert [texts.draw(2, chance, MIX) for chance in (0.1, 0.3, 0.6, 0.9)] == [
        f"a photo of {TAXA[2].taxonomic_name}.", f"a photo of {TAXA[2].common_name}.", "a red disc", "a red disc",
    ]  # fmt: skip
    assert texts.draw(1, 0.5, {Caption.COMMON: 1.0}) == f"a photo of {bare.taxonomic_name}.", "the one that it has"
    assert any("captions are those in the shards; 3 of 3 images have one" in line for line in images.look_first())
    assert images.of_rows(np.array([1])).texts.draw(0, 0.5, MIX) == f"a photo of {bare.taxonomic_name}."


def test_captions_as_published_are_refused_where_there_are_none(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", sample("a", {"json": json.dumps({"genus": "Rubra"})}))
    with pytest.raises(UsageError, match="has a caption in the shards; leave it out"):
        open_images(tmp_path, "train", captions="published", dev_fraction=0.0)
    texts = PublishedCaptions(open_collection(tmp_path).table, np.array([0]))
    assert texts.draw(0, 0.5, MIX) is None


def test_a_tar_that_vanishes_is_the_failure_of_its_images(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=2)
    images = open_images(tmp_path, "train", dev_fraction=0.0)
    (tmp_path / "train" / "shard-000000.tar").unlink()
    with pytest.raises(ImageError, match=r"shard shard-000000.tar: the file does not exist"):
        images.encoded(0)


def test_our_own_shards_without_their_manifest_are_still_read(tmp_path: Path) -> None:
    cells = {"kingdom": "Fictalia", "genus": "Rubra", "species": "parva", "split": "train", "group": "g1"}
    write_tar(tmp_path / "shard.tar", sample("a", {"json": json.dumps(cells)}))
    catalog = open_collection(tmp_path)
    assert (catalog.taxon(0).scientific_name, catalog.group(0)) == ("Rubra parva", "g1")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "common", "captions"), [("tol_shards10m", "lemon damsel", 5), ("tol_shards200m", "", 2)]
)
def test_the_fixtures_of_treeoflife_are_collections(tmp_path: Path, name: str, common: str, captions: int) -> None:
    shutil.copytree(Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts" / name, tmp_path / name)
    catalog = open_collection(tmp_path / name)
    lineage = "Animalia Chordata Actinopterygii Perciformes Pomacentridae Pomacentrus moluccensis".split()
    assert (len(catalog), catalog.taxa) == (6, (Taxon.of(lineage, common),))
    assert catalog.encoded(5).size() == (224, 224)
    assert catalog.group(0) == "101fbccc-ded7-33e8-b421-eaeb534097ca"
    assert len(PublishedCaptions(catalog.table, np.arange(6)).distinct() or ()) == captions
    with tarfile.open(next((tmp_path / name).glob("*.tar"))) as tar:
        member = tar.extractfile("101fbccc-ded7-33e8-b421-eaeb534097ca.jpg")
        assert member is not None
        assert catalog.encoded(0).data == member.read()
