"""The `headgate` command: finds the subcommand, and turns every expected failure into clear lines and an exit code.

Nothing but click and the standard library is imported before the subcommand is known: `headgate --help` and completion
are called often and answer within a fraction of what importing Headgate takes.
"""

import importlib
import os
import sys

import click

from headgate import __version__
from headgate.cli.tables import printable
from headgate.errors import UserError

# name -> module and attribute, and the line in `headgate --help`, kept here so that help imports no command.
COMMANDS = {
    "run": ("headgate.cli.run:run", "Run the load balancer, from flags or a file."),
    "check": ("headgate.cli.check:check", "Check configuration files and report every mistake."),
    "demo": ("headgate.cli.demo:demo", "Run three small backends and Headgate in front of them."),
    "backend": ("headgate.cli.backend:backend", "Run the demo backend, which answers with what it received."),
    "status": ("headgate.cli.status:status", "Show what a running Headgate does."),
    "server": ("headgate.cli.server:server", "List and change the servers of a running Headgate."),
    "limit": ("headgate.cli.limit:limit", "See and change what the limits of a running Headgate count."),
    "tier": ("headgate.cli.tier:tier", "List and change the tiers of a running Headgate."),
    "events": ("headgate.cli.events:events", "Show what changed of late in a running Headgate."),
    "upgrade": ("headgate.cli.upgrade:upgrade", "Have the code that is installed now take over."),
    "reload": ("headgate.cli.reload:reload", "Have a running Headgate read its configuration again."),
}

INTERRUPTED = 130  # 128 + SIGINT, what a shell says of a program that Ctrl-C ended


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="headgate %(version)s")
def cli() -> None:
    """Headgate, a Layer-7 load balancer with exact rate limiting.

    Three web servers and a limit, without a file:

    \b
      headgate run --server 5000 --server 5001 --server 5002 --limit 100/minute
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs the command of the arguments, those of the process when None, and ends the process with its exit code."""
    sys.exit(call(arguments))


def call(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit code. What a person can mend is said on standard error, without traceback."""
    try:
        code = cli.main(arguments, prog_name="headgate", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        _complain(error.format_message() + (f" (see {where} --help)" if where else ""))
        return error.exit_code
    except UserError as error:
        _complain(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does. What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _complain(text: str) -> None:
    for line in text.splitlines():
        click.echo(f"headgate: {printable(line)}", err=True)
