"""Who a request is of, and which plan he has: both stand in a JSON Web Token that his login gave him."""

import os

import jwt

from headgate.ext import Request

SECRET = os.environ.get("TOKEN_SECRET", "only for trying: thirty-two bytes")
PLANS = {"gold"}  # those that headgate.toml has a tier for


def user(request: Request) -> str | None:
    """The user of a good token; None for everybody else, who counts by his address."""
    return _claims(request).get("sub")


def plan(request: Request) -> str | None:
    """The tier of the user's plan; None for the limit's own rate."""
    name = _claims(request).get("plan")
    return name if name in PLANS else None


def _claims(request: Request) -> dict:
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        return {}
    try:
        return jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return {}  # bad, or over: its server will say so; here it is just nobody's
