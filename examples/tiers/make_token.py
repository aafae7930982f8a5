"""Prints a token for an hour: `python make_token.py NAME [PLAN]`, as a login would give it."""

import sys
import time

import jwt
from tiers import SECRET

claims = {"sub": sys.argv[1], "exp": int(time.time()) + 3600}
if len(sys.argv) > 2:
    claims["plan"] = sys.argv[2]
print(jwt.encode(claims, SECRET, algorithm="HS256"))
