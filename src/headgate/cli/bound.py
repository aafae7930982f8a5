"""`python -m headgate.cli.bound PID ARGUMENTS...`: a `headgate` command that does not outlive the process PID.

The demo starts its parts this way, so that none of them stays behind however the demo ends, even by SIGKILL. Linux
sends the signal (PR_SET_PDEATHSIG); elsewhere the demo's own clean-up has to do.
"""

import ctypes
import os
import signal
import sys

from headgate.cli.main import main
from headgate.wire.handover import ENVIRONMENT

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NOT_UPGRADED = "headgate: a part of the demo ends with the demo, so no other process can take over from it"


def bind(parent: int) -> None:
    """Has the system end this process with SIGTERM when its parent ends; ends it now when the parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # After the request, since a parent that ended before it sends nothing any more.
    if os.getppid() != parent:
        sys.exit(_NOT_UPGRADED if ENVIRONMENT in os.environ else 0)


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    main(sys.argv[2:])
