"""Good samples to damage: small images of every format, documents, tables and archives."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def picture(size: tuple[int, int] = (48, 40), mode: str = "RGB") -> Image.Image:
    """Return a picture with edges and a gradient."""
    rows = np.linspace(0, 255, size[1]).astype(np.uint8)[:, None]
    columns = np.linspace(0, 255, size[0]).astype(np.uint8)[None, :]
    image = Image.fromarray(np.stack(np.broadcast_arrays(rows, columns, rows // 2 + columns // 2), axis=-1))
    ImageDraw.Draw(image).ellipse((8, 8, 30, 30), fill="red", outline="blue")
    return image.convert(mode)


@cache
def images() -> tuple[bytes, ...]:
    """Return one file per kind that is decoded in its own way."""
    return tuple(_images())


def _images() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x9003] = 6, "Maker", "2024:06:01 12:00:00"
    grey16 = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    for mode in ("RGB", "L", "CMYK"):
        yield saved(picture(mode=mode), "JPEG", exif=exif)
        yield saved(picture(mode=mode), "JPEG", progressive=True)
        yield saved(picture(mode=mode), "TIFF")
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1"):
        yield saved(picture(mode=mode), "PNG", exif=exif)
    yield saved(grey16, "PNG")
    yield saved(picture(), "PNG", pnginfo=_texts())
    yield saved(picture(mode="P"), "GIF", save_all=True, append_images=[picture(mode="L").convert("P")])
    yield saved(picture(), "BMP")
    yield saved(picture(mode="P"), "BMP")
    yield saved(picture(mode="RGB"), "WEBP", lossless=True)
    yield saved(picture(mode="RGBA"), "WEBP", save_all=True, append_images=[picture(mode="RGBA").rotate(90)])
    for compression in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg"):
        yield saved(picture(), "TIFF", compression=compression)
    yield saved(picture(mode="1"), "TIFF", compression="group4")
    yield saved(grey16, "TIFF", compression="tiff_deflate")
    yield saved(picture(), "TIFF", save_all=True, append_images=[picture((20, 30))], big_tiff=True)
    yield saved(picture(), "JPEG2000")
    yield saved(picture(), "JPEG2000", irreversible=True, num_resolutions=3, no_jp2=True)
    yield saved(picture(), "PPM")
    yield saved(picture(mode="1"), "PPM")
    yield saved(picture(), "AVIF")
    yield b"P3\n4 3\n255\n" + b" ".join(b"%d" % value for value in range(36))
    yield b"P2\n# made by hand\n4 3\n255\n" + b" ".join(b"%d" % value for value in range(12))
    yield _qoi(picture((12, 10)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _texts() -> Any:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("Comment", "a remark", zip=True)
    texts.add_itxt("Titel", "Käfer", zip=True)
    return texts


def _qoi(image: Image.Image) -> bytes:
    pixels = b"".join(b"\xfe" + bytes(pixel) for pixel in np.asarray(image).reshape(-1, 3))
    header = b"qoif" + image.width.to_bytes(4, "big") + image.height.to_bytes(4, "big") + b"\x03\x00"
    return header + pixels + b"\0" * 7 + b"\x01"


MEGADETECTOR: Mapping[str, Any] = {
    "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt", "detection_completion_time": "2024-06-01 12:00:00"},
    "detection_categories": {"1": "animal", "2": "person"},
    "classification_categories": {"0": "deer"},
    "images": [
        {"file": "a.png", "datetime": "2024:06:01 22:00:00", "detections": [
            {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4], "classifications": [["0", 0.8]]}]},
        {"file": "b.png", "failure": "Failure image access", "detections": None},
    ],
}  # fmt: skip
SPECIESNET: Mapping[str, Any] = {
    "predictions": [
        {"filepath": "a.png", "country": "DEU", "latitude": 50.0, "longitude": 8.0,
         "detections": [{"category": "1", "label": "animal", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}],
         "prediction": "u;mammalia;carnivora;felidae;felis;catus;domestic cat", "prediction_score": 0.9,
         "prediction_source": "classifier", "model_version": "4.0.1a"},
        {"filepath": "b.png", "failures": ["DETECTOR"]},
    ],
}  # fmt: skip
DESCRIPTOR: Mapping[str, Any] = {
    "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/camtrap-dp-profile.json",
    "name": "survey", "id": "s1", "created": "2024-06-01T12:00:00Z", "title": "Survey",
    "contributors": [{"title": "A", "email": "a@example.org"}],
    "project": {"id": "p", "title": "P", "samplingDesign": "opportunistic", "captureMethod": ["activityDetection"],
                "individualAnimals": False, "observationLevel": ["media"]},
    "spatial": {"type": "Point", "coordinates": [8.0, 50.0]},
    "temporal": {"start": "2024-06-01", "end": "2024-06-30"},
    "taxonomic": [{"scientificName": "Vulpes vulpes"}],
    "resources": [
        {"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource",
         "schema": f"https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/{name}-table-schema.json"}
        for name in ("deployments", "media", "observations")
    ],
}  # fmt: skip
CAMTRAP_TABLES: Mapping[str, bytes] = {
    "deployments.csv": b"deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n"
    b"d1,50.0,8.0,2024-06-01T00:00:00Z,2024-06-30T00:00:00Z\n",
    "media.csv": b"mediaID,deploymentID,captureMethod,timestamp,filePath,filePublic,fileMediatype\n"
    b"m1,d1,activityDetection,2024-06-02T10:00:00Z,a.png,true,image/png\n"
    b"m2,d1,timeLapse,2024-06-02T12:00:00Z,b.png,false,image/png\n",
    "observations.csv": b"observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,"
    b"scientificName,bboxX,bboxY,bboxWidth,bboxHeight,classificationMethod,classifiedBy,classificationTimestamp\n"
    b"o1,d1,m1,e1,2024-06-02T10:00:00Z,2024-06-02T10:00:00Z,media,animal,Vulpes vulpes,0.1,0.1,0.5,0.5,human,A,2024-07-01T00:00:00Z\n",
}
META_XML = (
    b'<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" '
    b'fieldsEnclosedBy="&quot;" ignoreHeaderLines="1" rowType="http://rs.tdwg.org/dwc/terms/Occurrence">'
    b'<files><location>occurrence.csv</location></files><id index="0"/>'
    b'<field index="0" term="http://rs.tdwg.org/dwc/terms/occurrenceID"/>'
    b'<field index="1" term="http://rs.tdwg.org/dwc/terms/scientificName"/>'
    b'<field index="2" term="http://rs.tdwg.org/dwc/terms/associatedMedia"/></core></archive>'
)
OCCURRENCES = b'occurrenceID,scientificName,associatedMedia\no1,Vulpes vulpes,a.png\no2,"Felis, catus",b.png\n'
TABLE = (
    b"image,scientific_name,latitude,longitude,date,x,y,width,height,deployment\n"
    b"a.png,Vulpes vulpes,50.1,8.2,2024-06-01T10:00:00,0.1,0.1,0.5,0.5,cam1\n"
    b'b.png,Felis catus,"50,1",8.2,1.6.2024,,,,,cam2\n'
)
TIMELAPSE = b"RootFolder,File,RelativePath,DateTime,DeleteFlag,Species\nroot,a.png,,2024-06-01 10:00:00,false,fox\n"
ADDAXAI = b"relative_path,DateTimeOriginal,data_type,n_detections,max_confidence,human_verified\na.png,01/06/24 10:00:00,img,1,0.9,False\n"
WILDLIFE_INSIGHTS = (
    b"project_id,deployment_id,image_id,filename,location,identified_by,wi_taxon_id,class,order,family,genus,species,timestamp\n"
    b"1,d1,i1,a.png,a.png,A,u,Mammalia,Carnivora,Felidae,Felis,catus,2024-06-01 10:00:00\n"
)
TABLES = (TABLE, TIMELAPSE, ADDAXAI, WILDLIFE_INSIGHTS, OCCURRENCES, *CAMTRAP_TABLES.values())
DOCUMENTS = (MEGADETECTOR, SPECIESNET, DESCRIPTOR, [{"file": "a.png", "detections": []}])


@cache
def archives() -> tuple[bytes, ...]:
    """Return zip and tar files: a Camtrap DP package, a Darwin Core Archive, a shard, a folder of images."""
    png = saved(picture(), "PNG")
    package = {"datapackage.json": json.dumps(DESCRIPTOR).encode(), **CAMTRAP_TABLES, "a.png": png}
    darwin = {"meta.xml": META_XML, "occurrence.csv": OCCURRENCES, "a.png": png}
    shard = {"000.png": png, "000.json": b'{"scientific_name": "Vulpes vulpes"}', "000.taxon.txt": b"Vulpes vulpes",
             "001.jpg": saved(picture(), "JPEG"), "001.txt": b"a fox"}  # fmt: skip
    return (
        zipped(package), zipped(darwin), zipped(darwin, zipfile.ZIP_STORED), zipped({"x/a.png": png, "x/b.png": png}),
        tarred(shard, "w"), tarred(shard, "w:gz"), tarred(darwin, "w:xz"),
    )  # fmt: skip


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 6, 1, 12, 0, 0)), data, compression)
    return file.getvalue()


def tarred(members: Mapping[str, bytes], mode: str) -> bytes:
    """Return a tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()
