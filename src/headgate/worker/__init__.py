"""The data plane: one process with one event loop that serves clients by the last snapshot it was given.

`exchange.py` tells the way of one request from top to bottom; `downstream.py` is a client's connection, `client.py` the
client as its requests know it, `upstream.py` a server's connection, `plan.py` a snapshot made ready to serve by,
`process.py` the life of the process. Nothing here imports control code: the supervisor starts
`python -m headgate.worker`.
"""
