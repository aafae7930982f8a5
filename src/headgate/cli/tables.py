"""Aligned text for people: columns as wide as what is in them, numbers to the right."""

from collections.abc import Iterable, Sequence

import click

Row = Sequence[str | int]


def table(heads: Sequence[str], rows: Iterable[Row]) -> str:
    """The rows under their heads. Numbers are set to the right; a column that has nothing in any row is left out."""
    body = [list(row) for row in rows]
    kept = [at for at in range(len(heads)) if not body or any(row[at] != "" for row in body)]
    columns = [_column(heads[at], [row[at] for row in body]) for at in kept]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def printable(text: str) -> str:
    """The text without anything that could disturb a terminal: it may come from a server."""
    return "".join(c if c.isprintable() else "?" for c in text)


def say(line: str) -> None:
    """Prints a line without anything that could disturb a terminal."""
    click.echo(printable(line))


def span(seconds: float) -> str:
    """A time in its two greatest units, such as `3h 12m`."""
    parts = [(int(seconds) // size % count, unit) for size, count, unit in _UNITS]
    first = next((at for at, (value, _) in enumerate(parts) if value), len(parts) - 1)
    return " ".join(f"{value}{unit}" for value, unit in parts[first : first + 2])


_UNITS = ((86400, 1 << 62, "d"), (3600, 24, "h"), (60, 60, "m"), (1, 60, "s"))


def _column(head: str, values: list[str | int]) -> list[str]:
    cells = [head, *(printable(str(value)) for value in values)]
    width = max(map(len, cells))
    if values and all(isinstance(value, int) or value == "" for value in values):
        return [cell.rjust(width) for cell in cells]
    return [cell.ljust(width) for cell in cells]
