"""`headgate upgrade`: have the code that is installed now take over from a running Headgate."""

import click

from headgate.cli.admin import Admin, with_admin
from headgate.cli.answers import Upgraded, read

_PATIENCE = 90.0  # seconds; the new process has a minute to come up


@click.command
@with_admin
def upgrade(admin: Admin) -> None:
    """Have the code that is installed now take over from a running Headgate, without losing a request.

    The same command is started again. When its workers serve, the old ones finish what they have. If it does not come
    up, nothing changes. Not for a Headgate that is the first process of a container: replace the container instead.
    """
    done = read(admin.ask("POST", "/api/v1/upgrade", patience=_PATIENCE), Upgraded)
    click.echo(f"headgate {done.version} (pid {done.pid}) serves now; the old one finishes what it has")
