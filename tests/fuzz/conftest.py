"""How hard the fuzz tests try: by default the same examples in every run; `HEADGATE_FUZZ=long` looks for new ones.

A long run prints the seed and the example of what it finds; put that example into a table of vectors.
"""

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("steady", derandomize=True, database=None, deadline=None, max_examples=400)
settings.register_profile("long", deadline=None, max_examples=20000, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HEADGATE_FUZZ", "steady"))
