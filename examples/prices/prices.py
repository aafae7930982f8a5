"""What requests cost: dear ones more, uploads most, and nothing what the server failed at."""

from headgate.ext import Request, Response

PRICES = {"/health": 0, "/search": 10, "/report": 20}  # by the first segment of the path


def price(request: Request) -> int:
    """The points that a request takes; 0 counts nothing."""
    segment = "/" + request.path.split("/")[1]
    points = PRICES.get(segment, 1)
    return points * 2 if request.method in ("POST", "PUT") else points


def paid(request: Request, response: Response) -> int | None:
    """What it really cost: nothing when the server failed, one point when the answer was known already."""
    if response.status >= 500:
        return 0
    if response.header("x-cache") == "hit":
        return 1
    return None
