"""The listing of what the user named: each address by the first source that takes it, each item expanded where a plugin does so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions, Source
from bioclip_plugin.formats.shared.streamed_json import beginning
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

Expand = Callable[[MediaItem, ListingOptions], "Iterable[MediaItem | Unlisted] | None"]
"""What an item is made of (frames, pages), or None where it is one image."""


def listed(
    addresses: Iterable[str],
    sources: Sequence[Source],
    options: ListingOptions | None = None,
    expand: Expand | None = None,
) -> Iterator[MediaItem | Unlisted]:
    """List every address, in the order given. Nothing is read before the first item is taken.

    All addresses are looked at before this returns, so that a misspelt one is heard of now and not after a night's work.
    An image that two addresses name is listed twice: the store, which knows what is done, tells them apart by uri.

    Raises:
        SourceError: if no source takes an address, or (while iterating) if one cannot be read as a whole.
    """
    options = options or ListingOptions()
    pairs = [(address, source_of(address, sources)) for address in addresses]
    return _expanded((item for address, source in pairs for item in source.items(address, options)), options, expand)


def source_of(address: str, sources: Sequence[Source]) -> Source:
    """The first source that takes the address.

    Raises:
        SourceError: if none does.
    """
    for source in sources:
        if source.takes(address):
            return source
    shown = uri_of(address) or "(an empty address)"
    names = ", ".join(source.name for source in sources)
    if not Path(address).exists() and not path_of(address).exists():
        raise SourceError(f"{shown} does not exist; give a path of one of these kinds: {names}")
    if beginning(path_of(address)).text:
        raise SourceError(
            f"{shown} is JSON of no kind that is known: read are MegaDetector results, SpeciesNet predictions and the "
            "datapackage.json of Camtrap DP; give one of them (is the file whole?), or images"
        )
    raise SourceError(f"{shown} cannot be listed; give one of these kinds: {names}")


def _expanded(
    items: Iterable[MediaItem | Unlisted], options: ListingOptions, expand: Expand | None
) -> Iterator[MediaItem | Unlisted]:
    for item in items:
        parts = expand(item, options) if expand and isinstance(item, MediaItem) else None
        if parts is None:
            yield item
        else:
            yield from parts
