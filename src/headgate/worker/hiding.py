"""What the access log shows of a request's target where a private limit counts by a parameter of its query.

What such a limit counts by is a secret that is to lie nowhere, and a target is the one thing in a line of the log that
could have it: fields and cookies are not logged. The value stands there as the limit's key shows it, `~` and a hash,
so that an operator finds the client of a line by `headgate limit show`, and the other way round.
Parameters are told apart as `keys` does it. `plan` asks for this once for each route, and for all of them together: a
request that no route matches could have any.
"""

from collections.abc import Callable, Iterable

from headgate.limits.keys import Seal, decoded, said
from headgate.model.config import Limit

Hide = Callable[[bytes], bytes]  # from a target to what is shown of it


def hiding(limits: Iterable[Limit], seal: Seal) -> Hide | None:
    """What hides the parameters that private ones of these limits count by; None where there are none."""
    parts = {part for limit in limits if limit.private for text in limit.keys for part in text.split(",")}
    names = frozenset(part.removeprefix("query:").encode() for part in parts if part.startswith("query:"))
    if not names:
        return None

    def hide(target: bytes) -> bytes:
        path, mark, query = target.partition(b"?")
        if not mark:
            return target
        pairs = query.split(b"&")
        seen: set[bytes] = set()
        for at, pair in enumerate(pairs):
            name, _, value = pair.partition(b"=")
            if value and (plain := decoded(name)) in names:
                # The first one counts, if any. Others could be secrets too, but thousands of hashes would take
                # milliseconds.
                pairs[at] = b"%b=%b" % (name, b"~" if plain in seen else seal(said(decoded(value), b"")))
                seen.add(plain)
        return b"%b?%b" % (path, b"&".join(pairs))

    return hide
