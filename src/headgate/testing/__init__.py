"""A kit for tests: of Headgate itself, and of what users write for it.

It holds clocks that move by hand, requests for functions that a limit asks, and contract checks: what every store,
built in or yours, must do.
"""
