import tomllib

import pytest

from headgate.control.lines import Path, locate

TEXT = '''\
# [not.a.table]
a = 1
b.c = """
[not.a.table]
k = 2
"""
b."d.e" = '[x]' # ] comment
when = 1979-05-27 07:32:00
list = [ # [
  1,
  "two ] \\" ]", 'three',
  { x = 1, y = [
    "z" ] },
]

[t]
k = {}
[t.sub]
k = []
[[many]]
k = 1
[[many]]
k = 2
[many.inner]
k = """a "" b""""
[[many.deep]]
'quoted' = \'\'\'it's\'\'\'\'
end = true'''


def test_every_key_and_element_has_the_line_on_which_it_begins() -> None:
    assert locate(TEXT) == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 3,
        ("b", "d.e"): 7,
        ("when",): 8,
        ("list",): 9,
        ("list", 0): 10,
        ("list", 1): 11,
        ("list", 2): 11,
        ("list", 3): 12,
        ("list", 3, "x"): 12,
        ("list", 3, "y"): 12,
        ("list", 3, "y", 0): 13,
        ("t",): 16,
        ("t", "k"): 17,
        ("t", "sub"): 18,
        ("t", "sub", "k"): 19,
        ("many",): 20,
        ("many", 0): 20,
        ("many", 0, "k"): 21,
        ("many", 1): 22,
        ("many", 1, "k"): 23,
        ("many", 1, "inner"): 24,
        ("many", 1, "inner", "k"): 25,
        ("many", 1, "deep"): 26,
        ("many", 1, "deep", 0): 26,
        ("many", 1, "deep", 0, "quoted"): 27,
        ("many", 1, "deep", 0, "end"): 28,
    }


def paths(value: object, path: Path = ()) -> set[Path]:
    """Every path of a value as tomllib read it."""
    found = {path} if path else set()
    members = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    for key, member in members.items():
        found |= paths(member, (*path, key))
    return found


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        "",
        "\n\n",
        "a=1",
        'a = [[], [[1]], {b.c = "}"}]',
        "a.b.c = 1\na.b.d=inf #",
        '"\\u0061b" = 1',
        "[ a . 'b' ]\n[[a.b.c]]\n[[a.b.c]]",
        "a = -0.5e+3\nb = 0xFF\nc = 1979-05-27T07:32:00Z",
    ],
)
def test_the_paths_are_those_that_tomllib_reads(text: str) -> None:
    assert set(locate(text)) == paths(tomllib.loads(text))
