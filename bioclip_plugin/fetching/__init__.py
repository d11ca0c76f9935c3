"""Images by address: fetched politely and safely into a folder, where equal bytes are kept once and every address has its record.

:class:`~bioclip_plugin.fetching.fetcher.Fetcher` is the door. Importing this room imports no HTTP library.
"""
