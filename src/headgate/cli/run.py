"""`headgate run`: Headgate itself, from flags or a file."""

from pathlib import Path

import click

from headgate.control.config import Flags, from_flags, load

# Flags that say what a file would say; next to a file nobody could tell which of the two holds.
_INSTEAD_OF_A_FILE = {
    "listen": "--listen",
    "server": "--server",
    "limit": "--limit",
    "health_check": "--health-check",
    "trusted_proxy": "--trusted-proxy",
}


def _only_one(context: click.Context, option: click.Parameter, rates: tuple[str, ...]) -> str | None:
    """The limit. Of several the last would count alone, and nobody be told that the others do not."""
    if len(rates) > 1:
        raise click.UsageError("--limit can be given once: several limits need a configuration file")
    return next(iter(rates), None)


@click.command
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@click.option("--config", type=click.Path(path_type=Path, readable=False), metavar="FILE", help="The same as FILE.")
@click.option("--listen", multiple=True, metavar="ADDRESS", help="Where clients connect (127.0.0.1:8000).")
@click.option("--server", multiple=True, metavar="ADDRESS", help="A server to send requests to; give it several times.")
@click.option(
    "--limit",
    multiple=True,
    callback=_only_one,
    metavar="RATE",
    help="For each client address, as in 100/minute or 5/10s.",
)
@click.option("--workers", metavar="N|auto", help="Worker processes (auto: one for each core).")
@click.option("--store", metavar="URL", help="A Redis that counts limits for several Headgates.")
@click.option("--admin", metavar="ADDRESS|off", help="Where the admin API listens (127.0.0.1:9000).")
@click.option("--health-check", metavar="PATH", help="Probe each server with GET PATH.")
@click.option("--access-log", metavar="text|json", help="Write a line for each request to standard output.")
@click.option("--state", metavar="FILE", help="Keep changes made at run time here.")
@click.option("--trusted-proxy", multiple=True, metavar="NETWORK", help="Believe X-Forwarded-For of these peers.")
def run(file: Path | None, config: Path | None, **given: str | tuple[str, ...] | None) -> int:
    """Run the load balancer, from flags or from a configuration FILE.

    An ADDRESS is host:port, unix:/path, or a port of this machine alone. Next to a FILE, --workers, --store, --admin,
    --access-log and --state override what it says. A reload (SIGHUP or `headgate reload`) reads the FILE again.
    """
    from headgate.control.supervisor import run as supervise  # here, because it takes longer than help should

    if file and config:
        raise click.UsageError("give the file once, as FILE or as --config FILE")
    path, flags = file or config, Flags(**given)  # type: ignore[arg-type]
    if path is None:
        if not flags.server:
            raise click.UsageError("nothing to balance: give --server ADDRESS or a configuration FILE")
        fixed = from_flags(flags)
        return supervise(lambda: fixed)
    if both := [flag for name, flag in _INSTEAD_OF_A_FILE.items() if given[name]]:
        raise click.UsageError(f"{', '.join(both)} cannot be combined with a configuration file: set it in {path}")
    where = path.absolute()  # a reload finds it even when the working directory has changed
    return supervise(lambda: load(where, flags))
