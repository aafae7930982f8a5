"""`headgate check`: what is wrong with configuration files, all of it, before anything is started."""

from pathlib import Path

import click

from headgate.cli.tables import printable
from headgate.control.config import load
from headgate.control.unused import unused
from headgate.errors import ConfigError
from headgate.model.config import Config
from headgate.model.words import counted


@click.command
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False), metavar="FILE...")
def check(files: tuple[Path, ...]) -> None:
    """Check configuration files and report every mistake at once, each with its line.

    What may be meant so is a warning: a limit that nothing names, a tier that no key could have.
    """
    problems: list[str] = []
    for file in files:
        try:
            config = load(file)
        except ConfigError as error:
            problems += error.problems
            continue
        click.echo(f"{file}: ok ({summary(config)})")
        for line in unused(config):
            click.echo(f"headgate: warning: {file}: {printable(line)}", err=True)
    if problems:
        raise ConfigError(problems)


def summary(config: Config) -> str:
    """How much there is in a configuration: `2 upstreams, 5 servers, 3 routes, 1 limit`."""
    counts = {
        "upstream": len(config.upstreams),
        "server": sum(len(upstream.servers) for upstream in config.upstreams),
        "route": len(config.routes),
        "limit": len(config.limits),
    }
    return ", ".join(counted(count, noun) for noun, count in counts.items())
