"""What came of playing a case, as a value."""

from dataclasses import dataclass

from tests.conformance.transcript import Message


@dataclass(frozen=True, slots=True)
class Played:
    """answers: to the case alone, interim ones left out; loose: what the client got that is no answer.

    seen: by the server; unfinished: what came to it of another. end: "closed", "reset" or "waits", for the client.
    in_step: whether what followed the case on the client's connection was answered as it should be.
    """

    answers: tuple[Message, ...]
    seen: tuple[Message, ...]
    unfinished: bytes
    end: str
    in_step: bool
    loose: bytes = b""
