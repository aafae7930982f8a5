"""Runs the supervisor over fake workers, by a configuration in JSON: `run_headgate.py CONFIG BEHAVIOUR`.

A file that is no configuration is a ConfigError of two problems, as a bad TOML file would be.
"""

import sys
from pathlib import Path

import msgspec

from headgate.control.supervisor import run
from headgate.errors import ConfigError, UserError
from headgate.model.config import Config

FAKE = str(Path(__file__).with_name("fake_worker.py"))


def main() -> int:
    path, behaviour = Path(sys.argv[1]), sys.argv[2]

    def load() -> Config:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Config)
        except msgspec.MsgspecError as error:
            raise ConfigError([f"{path}: one", f"{path}: two"]) from error

    try:
        return run(load, command=(sys.executable, FAKE, behaviour))
    except UserError as error:
        print(f"headgate: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
