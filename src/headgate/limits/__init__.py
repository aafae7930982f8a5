"""Rate limits as pure arithmetic: what a limit decides, given its state and the time.

Nothing here waits, reads a clock or keeps state. Stores keep the state and every one of them must decide exactly as
the functions here do; `headgate.testing.stores` holds them to it.
"""
