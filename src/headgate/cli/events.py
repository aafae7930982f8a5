"""`headgate events`: what changed of late in a running Headgate, and what changes from now on."""

import time

import click
import msgspec

from headgate.cli.admin import Admin, with_admin
from headgate.cli.answers import Event, Events, read
from headgate.cli.tables import printable

_PAUSE = 1.0  # seconds between two questions


@click.command
@click.option("--since", type=click.IntRange(0), default=0, metavar="NUMBER", help="Only what came after this event.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@with_admin
def events(admin: Admin, since: int, follow: bool, as_json: bool) -> None:
    """Show what changed of late: the limits' store, bans, servers, the configuration."""
    started = 0.0
    while True:
        found = read(admin.ask("GET", f"/api/v1/events?since={since}"), Events)
        if started and found.started != started:  # another process has taken over, with numbers of its own
            since, started = 0, found.started
            continue
        if found.misses and since:
            click.echo("some events are missing: they are in the log", err=True)
        for event in found.events:
            click.echo(msgspec.json.encode(event).decode() if as_json else _line(event))
        if not follow:
            return
        since, started = found.last, found.started
        time.sleep(_PAUSE)


def _line(event: Event) -> str:
    return printable(f"{event.number} {event.time} {event.kind}: {event.text}")
