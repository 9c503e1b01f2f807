"""Command lines of this package."""

import argparse
from typing import NoReturn

from sanm.errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message} (see {self.prog} --help)")
