"""Loads configurations from texts, for the tests of what is read and of what is refused."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from headgate.control.config import Flags, load
from headgate.errors import ConfigError
from headgate.model.config import Config

NO_FLAGS = Flags()
NO_ENVIRON: Mapping[str, str] = MappingProxyType({})
WEB = '[upstreams.web]\nservers = ["127.0.0.1:5000"]\n'


def read(tmp_path: Path, text: str | bytes, flags: Flags = NO_FLAGS, environ: Mapping[str, str] = NO_ENVIRON) -> Config:
    """The configuration of a file with that text."""
    file = tmp_path / "headgate.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, flags, environ)


def problems(
    tmp_path: Path, text: str | bytes, flags: Flags = NO_FLAGS, environ: Mapping[str, str] = NO_ENVIRON
) -> list[str]:
    """The problems of a file with that text, without the folder it is in."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, flags, environ)
    assert caught.value.exit_code == 78
    return [line.replace(f"{tmp_path}{os.sep}", "") for line in caught.value.problems]
