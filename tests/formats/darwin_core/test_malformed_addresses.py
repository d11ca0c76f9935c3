"""Addresses in an archive that cannot be read."""

from bioclip_plugin.formats.darwin_core.read_files import file_names_of


def test_a_malformed_address_has_no_file_beside_the_archive() -> None:
    assert file_names_of("http://[bad/x.jpg") == []
