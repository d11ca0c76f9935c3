"""Errors: one readable line, whatever they quote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_core.errors import LONGEST_MESSAGE, BioclipError, DataError, ImageError, first_line


@given(st.text(max_size=50) | st.text(alphabet="\n\r\t\x00\x1b\x85\u2028\ud800a", max_size=50))
def test_the_text_of_an_error_is_one_line_that_can_be_printed(text):
    for error in (BioclipError(text), DataError(text), ImageError(text)):
        assert len(str(error).splitlines()) <= 1
        str(error).encode("utf-8")
        assert all(character.isprintable() for character in str(error) if ord(character) < 0xA0)


def test_an_ordinary_text_stays_as_it_is():
    assert str(DataError("Käfer × 'a.csv' 50,1 °: gives 3")) == "Käfer × 'a.csv' 50,1 °: gives 3"


def test_bytes_of_a_foreign_encoding_are_shown_as_escapes():
    assert str(BioclipError(b"K\xe4fer".decode("utf-8", "surrogateescape"))) == r"K\xe4fer"


def test_a_long_text_keeps_its_beginning_and_its_advice():
    error = str(BioclipError("the table has the columns " + "x, " * 5000 + "; give --column"))
    assert len(error) <= LONGEST_MESSAGE
    assert error.startswith("the table has the columns x, ")
    assert error.endswith("; give --column")
    assert "characters)" in error
    assert len(str(BioclipError("\udcff" * 900))) <= LONGEST_MESSAGE


@pytest.mark.parametrize("error", [OSError("a\nb"), ValueError("")])
def test_the_first_line_of_a_foreign_error(error):
    assert first_line(error) == ("a" if isinstance(error, OSError) else "ValueError")
