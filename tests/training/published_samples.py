"""Small archives as published collections have them: tars of samples, in TreeOfLife's and img2dataset's layouts."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from collections_of_discs import TAXA, disc
from PIL import Image

from bioclip_core.taxonomy import RANKS, Taxon

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def image(colour: str = "red", kind: str = "JPEG", size: tuple[int, int] = (12, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def sample(key: str, members: Mapping[str, bytes | str], colour: str = "red") -> list[tuple[str, bytes]]:
    """Return the members of one sample: its image, and texts by their extension."""
    texts = [(f"{key}.{name}", data.encode() if isinstance(data, str) else data) for name, data in members.items()]
    return [(f"{key}.jpg", image(colour)), *texts]


def treeoflife_texts(taxon: Taxon, *, is_large: bool = False) -> dict[str, str]:
    """Return the text members of TreeOfLife-10M's shards, as make_wds writes them; ``is_large``: those of TreeOfLife-200M."""
    scientific, taxonomic = taxon.scientific_name, taxon.taxonomic_name
    common = taxon.common_name or scientific
    tagged = " ".join(f"{rank.value} {taxon.lineage[rank.depth]}" for rank in RANKS if taxon.lineage[rank.depth])
    texts = {
        "taxonomic_name.txt": taxonomic,
        "scientific_name.txt": scientific,
        "sci.txt": f"a photo of {scientific}.",
        "taxon.txt": f"a photo of {taxonomic}.",
        "taxonTag.txt": f"a photo of {tagged}.",
    }
    of_common = {
        "common_name.txt": common,
        "com.txt": f"a photo of {common}.",
        "sci_com.txt": f"a photo of {scientific} with common name {common}.",
        "taxon_com.txt": f"a photo of {taxonomic} with common name {common}.",
        "taxonTag_com.txt": f"a photo of {tagged} with common name {common}.",
    }
    return texts if is_large else {**texts, **of_common}


def write_treeoflife(
    folder: Path,
    *,
    each: int = 6,
    split: str = "train",
    is_large: bool = False,
    shards: int = 2,
    taxa: Sequence[Taxon] = TAXA,
) -> Path:
    """Write shards of coloured discs in TreeOfLife's layout, ``each`` per taxon, into a folder of their split."""
    members: list[list[tuple[str, bytes]]] = [[] for _ in range(shards)]
    for taxon in taxa:
        for number in range(each):
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{split} {taxon.scientific_name} {number}"))
            stream = io.BytesIO()
            disc(taxon, number).resize((32, 32)).save(stream, "PNG")
            texts = treeoflife_texts(taxon, is_large=is_large)
            members[number % shards] += [
                (f"{key}.jpg", stream.getvalue()),
                *((f"{key}.{n}", t.encode()) for n, t in texts.items()),
            ]
    for number, of_shard in enumerate(members):
        write_tar(folder / split / f"shard-{number:06d}.tar", of_shard)
    return folder


def write_img2dataset(folder: Path, captions: list[str], *, first: int = 0, shard: int = 0) -> Path:
    """Write a shard of img2dataset's webdataset format, with its statistics."""
    members = []
    for number, caption in enumerate(captions, first):
        key = f"{shard:05d}{number:04d}"
        cells = {
            "caption": caption,
            "url": f"http://x/{key}.jpg",
            "key": key,
            "status": "success",
            "width": 32,
            "exif": "{}",
        }
        stream = io.BytesIO()
        disc(TAXA[number % len(TAXA)], number).resize((32, 32)).save(stream, "JPEG", quality=95)
        members += [
            (f"{key}.jpg", stream.getvalue()),
            (f"{key}.txt", caption.encode()),
            (f"{key}.json", json.dumps(cells).encode()),
        ]
    write_tar(folder / f"{shard:05d}.tar", members)
    stats = {"count": len(captions), "successes": len(captions), "failed_to_download": 0, "failed_to_resize": 0}
    (folder / f"{shard:05d}_stats.json").write_text(json.dumps(stats))
    return folder
