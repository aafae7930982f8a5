"""A directory of partners: `python directory.py 7000`. 200 for the key of one, 404 for all others."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARTNERS = {"acme-2041", "globex-77"}


class Handler(BaseHTTPRequestHandler):
    """Answers `GET /partners/KEY`."""

    def do_GET(self):
        """Who is asked for stands at the end of the path."""
        self.send_response(200 if self.path.rpartition("/")[2] in PARTNERS else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
