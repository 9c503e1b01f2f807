"""Errors of the config libraries as one line that a user can act on."""

import difflib
import errno
import re

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from sanm.config.limits import keys
from sanm.errors import InputError


def one_line(error: BaseException) -> str | None:
    """The line to show; None for an error that is not the user's."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, InputError):
            return str(link)
        if isinstance(link, MissingConfigException) and link.options:
            return f"{link.missing_cfg_file}: no such option; choose one of {', '.join(sorted(link.options))}"
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return f"cannot write {link.filename}: {link.strerror}"
        if isinstance(link, OSError) and link.errno == errno.EACCES:
            return f"cannot open {link.filename} ({link.strerror}): it, or a folder above it, is closed to you"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    message = str(error).partition("\n")[0]
    return message + _suggestion(" ".join(str(link) for link in chain))


def _chain(error: BaseException | None) -> list[BaseException]:
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _suggestion(message: str) -> str:
    """A key that exists and looks like the one that does not."""
    asked = re.search(r"Could not override '([^']+)'", message)
    if not asked:
        return ""
    if asked[1].partition(".")[0] == "launch":
        return " It is for grids: python -m sweeps.launch run GRID launch=OPTION."
    known = keys()
    last = asked[1].rpartition(".")[2]
    near = [key for key in known if key.rpartition(".")[2] == last] or difflib.get_close_matches(asked[1], known, 1)
    return f" Did you mean {' or '.join(near)}?" if near else " See --help for the keys there are."
