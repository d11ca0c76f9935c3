"""GBIF: occurrences and their media, as a Darwin Core archive, a simple download, or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.nouns import number_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.gbif_images import LAST_PART, NAMINGS, file_names
from bioclip_training.published.gbif_tables import GbifTables, found_tables
from bioclip_training.published.layout import LayoutOption, ReadOptions, Recognition, check_settings, one_of, setting
from bioclip_training.published.reading.finishing import IMAGES, MISSING_IMAGES, finished, image_folder, keeps_missing
from bioclip_training.published.reading.hashed import ImageFiles
from bioclip_training.published.reading.joining import Joining, joining
from bioclip_training.published.reading.tables import ColumnTable, has_columns, header_of
from bioclip_training.published.reading.values import dates, places
from bioclip_training.published.records import batch_of

_OCCURRENCE: Mapping[str, Sequence[str]] = {
    "id": ["id", "gbifID", "occurrenceID"],
    "stated_id": ["occurrenceID"],
    "verbatim_name": ["scientificName", "verbatimScientificName"],
    **{rank: [rank] for rank in ("kingdom", "phylum", "class", "order", "family", "genus")},
    "epithet": ["specificEpithet"],
    "binomial": ["species"],
    "taxon_rank": ["taxonRank", "verbatimTaxonRank"],
    "source_taxon_id": ["taxonKey", "acceptedTaxonKey", "speciesKey", "taxonID"],
    "common_name": ["vernacularName"],
    "basis_of_record": ["basisOfRecord"],
    "life_stage": ["lifeStage"],
    "sex": ["sex"],
    "licence": ["license", "licence"],
    "rights_holder": ["rightsHolder"],
    "event_id": ["eventID"],
    "recorded_by": ["recordedBy"],
    "country": ["countryCode", "country"],
    "locality": ["locality"],
    "event_date": ["eventDate", "verbatimEventDate"],
    "latitude": ["decimalLatitude"],
    "longitude": ["decimalLongitude"],
    "status": ["occurrenceStatus"],
    "media_type": ["mediaType"],
}
_MEDIA: Mapping[str, Sequence[str]] = {
    "occurrence": ["coreid", "gbifID", "id"],
    "type": ["type"],
    "format": ["format"],
    "url": ["accessURI", "identifier", "url"],
    "page": ["references", "furtherInformationURL"],
    "media_licence": ["license", "licence", "UsageTerms", "rights"],
    "media_holder": ["rightsHolder", "Owner"],
}
_UNSTORED = ("type", "format", "page")
_IMAGE_FILE = r"(?i)\.(jpe?g|png|tiff?|gif|webp)(\?.*)?$"
_FROM_OCCURRENCE = tuple(
    name
    for name in _OCCURRENCE
    if name
    not in (
        "id",
        "stated_id",
        "epithet",
        "binomial",
        "licence",
        "rights_holder",
        "event_date",
        "latitude",
        "longitude",
        "status",
        "media_type",
    )
)
NOT_STILL = "media that are not still images"
NO_ADDRESS = "media without an address"
NO_OCCURRENCE = "media of an occurrence that is not in the table of occurrences"
ABSENT = "media of occurrences that state the absence of the taxon"
FROM_REFERENCES = "media lack an identifier; their references is an image file and is taken for the address"
NO_TYPE = "media state neither type nor format and are taken for still images"
_FOLDER = "images"
_WORLDWIDE = r"(?i)^(?:https?://|urn:)|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
"""Ids that no two publishers give."""
LOST_MEDIA = "occurrences state a still image (mediaType), but the table of media has none of them; is it complete?"
_QUERY = (
    "SELECT m.*, o.* EXCLUDE (id, epithet, binomial, nr), CASE WHEN epithet <> '' THEN epithet "
    "WHEN genus <> '' AND starts_with(binomial, genus || ' ') THEN substr(binomial, length(genus) + 2) "
    "ELSE binomial END AS species FROM (SELECT * EXCLUDE (nr) FROM media) m "
    "JOIN occurrences o ON o.id = m.occurrence WHERE {status}"
)


class Gbif:
    """A download of GBIF, or another Darwin Core archive of occurrences with media."""

    name = "gbif"
    title = "a GBIF download"
    needs = (
        "a Darwin Core archive (folder or zip) with meta.xml and a Multimedia extension, occurrence.txt with multimedia.txt, "
        "or Parquet: occurrence.parquet with multimedia.parquet, or with a column of nested media"
    )
    options = (
        IMAGES,
        LayoutOption(
            "image_names",
            "address (the default), md5 or sha1: images have the last part of their address as name, or its hash.",
            words=NAMINGS,
        ),
        MISSING_IMAGES,
        LayoutOption(
            "absences",
            "skip (the default) or keep media of occurrences whose occurrenceStatus is ABSENT.",
            words=("skip", "keep"),
        ),
    )

    def recognise(self, path: Path) -> Recognition | None:
        found = found_tables(path)
        if found is None:
            return None
        media = found.media.name if found.media else f"column {found.nested}"
        has_images = path.is_dir() and (path / _FOLDER).is_dir()
        return Recognition(
            layout=self.name,
            taken=(
                (found.occurrences.name, "occurrences: names, ranks, place, date, basis of record"),
                (media, "images: one record per still image, by its address"),
                ("scientificName", "name as written, with authors"),
                ("gbifID and address of the image", "id of the record"),
                ("license and rightsHolder of the image, else of its occurrence", "licence and rights holder"),
                ("occurrenceID if it is an address or a UUID, else gbifID", "observation"),
                *(((f"{_FOLDER}/", "images, named by their addresses"),) if has_images else ()),
            ),
            confidence=f"it is a {found.form}",
            missing=()
            if has_images
            else (f"folder {_FOLDER}: records have addresses only; state a folder as images: FOLDER",),
            files=found.files,
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        place, listed = self._images(path, options)
        naming = setting(self, options, "image_names", "address", one_of(*NAMINGS))
        keeps_absences = setting(self, options, "absences", "skip", one_of("skip", "keep")) == "keep"
        found = found_tables(path)
        if found is None:
            raise SourceError(_why_not(path, self.needs))
        with joining(options, shown_path(path)) as join:
            occurrences, media = found.open(options.findings, options.table)
            _check_columns(occurrences, media, found)
            _load(join, occurrences, media, options)
            _report(join, options, keeps_absences=keeps_absences)
            if place and naming == "address":
                _check_names(join, shown_path(path))
            status = "true" if keeps_absences else "upper(status) <> 'ABSENT'"
            batches = join.batches(_QUERY.format(status=status))
            records = (_record_batch(batch, options, place, naming) for batch in batches)
            yield from finished(records, path, options, listed, where=place)

    def _images(self, path: Path, options: ReadOptions) -> tuple[str, ImageFiles | None]:
        """Return the folder of the images, empty if there is none, and what lies in it."""
        root = path if path.is_dir() else path.parent
        place = image_folder(self, root, options, (_FOLDER, ""))
        return place, None if not place or keeps_missing(self, options) else ImageFiles(root, [place])


def _why_not(path: Path, needs: str) -> str:
    text = f"{shown_path(path)} is not a GBIF download with images: needed is {needs}"
    tables = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if any(has_columns(header_of(table), "gbifID", "datasetKey", "mediaType") for table in tables):
        text += "; found is a download in the format Simple, which has no addresses of images: ask GBIF for a Darwin Core Archive"
    return text


def _check_columns(occurrences: ColumnTable, media: ColumnTable, found: GbifTables) -> None:
    if not occurrences.heading(*_OCCURRENCE["id"]):
        raise SourceError(f"{occurrences.name} lacks the column gbifID, which joins it to the media")
    if not media.heading(*_MEDIA["occurrence"]):
        raise SourceError(f"{media.name} lacks the column gbifID, which joins it to the occurrences")
    if not media.heading(*_MEDIA["url"]):
        raise SourceError(f"{media.name} lacks the column identifier (or accessURI), the addresses of the images")
    if not occurrences.heading("scientificName", "genus", "species", "kingdom"):
        raise SourceError(
            f"{occurrences.name} has no column with a name (scientificName, species, genus …); found: {found.form}"
        )


def _load(join: Joining, occurrences: ColumnTable, media: ColumnTable, options: ReadOptions) -> None:
    # NA is Namibia in a column of country codes.
    columns = occurrences.columns(_OCCURRENCE, exact=("country", "id"))
    join.add("occurrences_all", columns, pa.schema([(name, pa.string()) for name in _OCCURRENCE]))
    join.execute("CREATE VIEW occurrences AS SELECT * FROM occurrences_all")
    rows = (_still(batch, options) for batch in media.columns(_MEDIA, exact=("occurrence",)))
    join.add("media", rows, pa.schema([(name, pa.string()) for name in _MEDIA if name not in _UNSTORED]))


def _still(batch: pa.RecordBatch, options: ReadOptions) -> pa.RecordBatch:
    """Return the rows that are still images with an address."""
    batch = _with_pages(batch, options)
    kind, form = pc.utf8_lower(batch.column("type")), pc.utf8_lower(batch.column("format"))
    kind = pc.replace_substring_regex(kind, pattern=r"^.*[/#:]", replacement="")  # addresses of dcmitype
    stated = pc.binary_join_element_wise(kind, form, " ")  # some publishers exchange the two
    unknown = pc.equal(stated, " ")
    is_still = pc.match_substring_regex(
        stated, r"^(still ?image|image|photograph)|^ image/|stillimage$|^(jpe?g|png|tiff?) "
    )
    if pc.any(unknown).as_py():
        options.findings.add(NO_TYPE, _first(batch, "url", unknown), pc.sum(unknown).as_py())
    keep = pc.or_(is_still, unknown)
    for reason, good in ((NOT_STILL, keep), (NO_ADDRESS, pc.not_equal(batch.column("url"), ""))):
        bad = pc.invert(good) if reason == NOT_STILL else pc.and_(keep, pc.invert(good))
        if pc.any(bad).as_py():
            options.skip(
                reason,
                f"occurrence {_first(batch, 'occurrence', bad)}: {_first(batch, 'url', bad)}",
                pc.sum(bad).as_py(),
            )
    kept = batch.filter(pc.and_(keep, pc.not_equal(batch.column("url"), "")))
    return kept.select([name for name in _MEDIA if name not in _UNSTORED])


def _with_pages(batch: pa.RecordBatch, options: ReadOptions) -> pa.RecordBatch:
    """Take the reference of media for their address where they lack one and it is an image file, not a page."""
    url, page = batch.column("url"), batch.column("page")
    taken = pc.and_(pc.equal(url, ""), pc.match_substring_regex(page, _IMAGE_FILE))
    if not pc.any(taken).as_py():
        return batch
    options.findings.add(FROM_REFERENCES, _first(batch, "page", taken), pc.sum(taken).as_py())
    return batch.set_column(batch.schema.get_field_index("url"), "url", pc.if_else(taken, page, url))


def _first(batch: pa.RecordBatch, name: str, mask: pa.Array) -> str:
    return str(batch.column(name)[pc.index(mask, True).as_py()].as_py())


def _check_names(join: Joining, shown: str) -> None:
    """Refuse addresses of different images with one last part, which one file cannot be."""
    count, first = join.count_and_first(
        f"SELECT min(url) FROM media GROUP BY regexp_extract(url, '{LAST_PART}', 1) HAVING count(DISTINCT url) > 1"
    )
    if count:
        raise SourceError(
            f"{shown}: {number_of(count, 'name')} of images would be the last part of several addresses (such as {first}): give files "
            "names by the hash of their address and state image_names: md5 or sha1"
        )


def _report(join: Joining, options: ReadOptions, *, keeps_absences: bool) -> None:
    count, first = join.count_and_first(
        "SELECT occurrence FROM media WHERE occurrence NOT IN (SELECT id FROM occurrences)"
    )
    if count:
        options.skip(NO_OCCURRENCE, first, count)
    if not keeps_absences:
        count, first = join.count_and_first(
            "SELECT o.id FROM media m JOIN occurrences o ON o.id = m.occurrence WHERE upper(o.status) = 'ABSENT'"
        )
        if count:
            options.skip(ABSENT, first, count)
    count, first = join.count_and_first("SELECT id FROM occurrences GROUP BY id HAVING count(*) > 1")
    if count:
        options.findings.add("ids of occurrences are given several times; the first row of each is used", first, count)
        join.execute(
            "CREATE OR REPLACE VIEW occurrences AS SELECT * FROM occurrences_all "
            "WHERE nr IN (SELECT min(nr) FROM occurrences_all GROUP BY id)"
        )
    count, _ = join.count_and_first("SELECT id FROM occurrences WHERE id NOT IN (SELECT occurrence FROM media)")
    options.count("occurrences without an image", count)
    count, first = join.count_and_first(
        "SELECT id FROM occurrences WHERE contains(lower(media_type), 'stillimage') AND id NOT IN (SELECT occurrence FROM media)"
    )
    if count:
        options.findings.add(LOST_MEDIA, first, count)


def _record_batch(batch: pa.RecordBatch, options: ReadOptions, place: str, naming: str) -> pa.RecordBatch:
    column = batch.column
    latitude, longitude = places(column("latitude"), column("longitude"), options)
    names = (*_FROM_OCCURRENCE, "species")
    return batch_of(
        batch.num_rows,
        {
            **{name: column(name) for name in names},
            "record_id": pc.binary_join_element_wise(column("occurrence"), column("url"), " "),
            "observation_id": pc.if_else(
                pc.match_substring_regex(column("stated_id"), _WORLDWIDE), column("stated_id"), column("occurrence")
            ),
            "url": column("url"),
            "uri": file_names(place, column("url"), naming) if place else "",
            "licence": _or_else(column("media_licence"), column("licence")),
            "rights_holder": _or_else(column("media_holder"), column("rights_holder")),
            "event_date": dates(column("event_date"), options),
            "latitude": latitude,
            "longitude": longitude,
        },
    )


def _or_else(own: pa.Array, other: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(own, ""), other, own)
