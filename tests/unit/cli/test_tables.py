from headgate.cli.tables import printable, table


def test_columns_are_aligned_and_numbers_set_to_the_right() -> None:
    text = table(("NAME", "COUNT", "NOTE"), [("a", 5, ""), ("longer", 1234, "x")])
    assert text.splitlines() == ["NAME    COUNT  NOTE", "a           5", "longer   1234  x"]


def test_numbers_with_nothing_between_them_are_set_to_the_right() -> None:
    text = table(("NAME", "ERRORS", "NOTE"), [("a", "", "x"), ("b", 17, "y"), ("c", 5, "")])
    assert text.splitlines() == ["NAME  ERRORS  NOTE", "a             x", "b         17  y", "c          5"]


def test_a_column_without_anything_is_left_out() -> None:
    assert table(("NAME", "NOTE"), [("a", ""), ("b", "")]).splitlines() == ["NAME", "a", "b"]


def test_a_table_without_rows_is_its_heads() -> None:
    assert table(("NAME", "NOTE"), []) == "NAME  NOTE"


def test_nothing_reaches_the_terminal_that_could_disturb_it() -> None:
    assert table(("A",), [("\x1b[2J\n",)]) == "A\n?[2J?"
    assert printable("caf\u00e9\u202e\r") == "caf\u00e9??"
