"""A small Flask server that says which one it is: `python server.py 5001`.

Start as many as you like, each on a port of its own, and name the ports in headgate.toml.
"""

import sys

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
# Headgate says in X-Forwarded-* who the client is. Exactly one proxy stands in front: believe exactly one.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)


@app.get("/")
def index():
    """Who answers, and whom."""
    return {"server": app.config["PORT"], "client": request.remote_addr, "request": request.headers["X-Request-ID"]}


@app.get("/health")
def health():
    """What Headgate asks every two seconds. Answer 503 here while a database or the like is missing."""
    return {"status": "ok"}


if __name__ == "__main__":
    app.config["PORT"] = int(sys.argv[1])
    app.run(port=app.config["PORT"])
