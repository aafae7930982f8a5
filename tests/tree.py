"""The Headgate that is tested, for children whose import path is not ours: where it lies, installed or not."""

from pathlib import Path

import headgate

SOURCE = str(Path(headgate.__file__).parents[1])
