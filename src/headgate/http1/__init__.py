"""The HTTP/1 codec: bytes in, facts and bytes to forward out. It knows no sockets, no clock and no configuration file.

Each head goes through one function: `read_request` and `read_response` take the bytes read so far and return the head
to forward with the few facts that the exchange needs, None when it is not complete, or raise. Each has a fast path,
one regular expression that checks every byte, and a general path behind it that is as strict; the answer is the same
for the same bytes however they were split.
"""
