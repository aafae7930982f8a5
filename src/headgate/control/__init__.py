"""The control plane: configuration, the supervisor, health checks, servers at run time, the admin API, metrics.

It runs in one process beside the workers and never imports them. `config` reads what the user wrote; the rest acts on
it.
"""
