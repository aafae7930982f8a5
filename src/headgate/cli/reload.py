"""`headgate reload`: have a running Headgate read its configuration again."""

import click

from headgate.cli.admin import Admin, with_admin
from headgate.cli.answers import Reloaded, read


@click.command
@with_admin
def reload(admin: Admin) -> None:
    """Have a running Headgate read its configuration again. A configuration with a mistake changes nothing."""
    done = read(admin.ask("POST", "/api/v1/reload"), Reloaded)
    click.echo(f"snapshot {done.snapshot} is served now" if done.changed else "nothing has changed")
    if done.restart_needed:
        click.echo(f"a restart is needed for the new {' and '.join(done.restart_needed)}", err=True)
