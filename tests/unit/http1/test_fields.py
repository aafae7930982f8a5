"""Reading single fields from the lines of a head that is known to be well-formed."""

from headgate.http1.fields import reader_of

LINES = b"GET / HTTP/1.1\r\nX-Key: \t a b \t\r\nx-key:c\r\nX-Keys: d\r\nX-Empty: \t\r\nX-Key:\r\n"


def test_all_fields_of_a_name_are_read_in_any_case_and_trimmed() -> None:
    assert reader_of("x-KEY")(LINES) == [b"a b", b"c", b""]
    assert reader_of("x-empty")(LINES) == [b""]
    assert reader_of("x-ke.")(LINES) == []


def test_where_it_is_asked_for_an_underscore_is_as_good_as_a_hyphen() -> None:
    lines = b"GET / HTTP/1.1\r\nX-A-B: 1\r\nX_a-B: 2\r\nXaB: 3\r\n"
    assert reader_of("x-a_b", twins=True)(lines) == [b"1", b"2"]
    assert reader_of("x-a-b")(lines) == [b"1"]
