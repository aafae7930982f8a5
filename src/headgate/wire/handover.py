"""What a supervisor hands over to the one that takes its place (`headgate upgrade`), and what that one answers.

The new process inherits the descriptors; an environment variable has their numbers. The two may be of different
versions: a field is only ever added, with a default, and one that is not known is ignored.
"""

import msgspec

ENVIRONMENT = "HEADGATE_HANDOVER"


class Handover(msgspec.Struct, frozen=True):
    """Old to new, as JSON in the environment.

    answer: where the new one says how it fared, in one `Answer`. listeners: the sockets of each address as the
    configuration writes it. admin: the admin API's address and socket. limits: the shared limit store's memory.
    lock: of the state file. down: the servers that the prober found down, each with its upstream.
    """

    answer: int
    listeners: dict[str, tuple[int, ...]] = {}
    admin: tuple[str, int] | None = None
    limits: int = -1
    lock: int = -1
    down: tuple[tuple[str, str], ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """New to old, as JSON: which version serves now in which process, or why it does not."""

    version: str
    pid: int
    problem: str = ""
