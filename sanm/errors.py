"""Exceptions that more than one part of the package knows."""


class InputError(Exception):
    """Something the user gave is wrong: an option, a file, a folder, a machine without the device asked for.

    The message is one line that names the key or the file and says what to do. Command lines print it without a
    traceback and exit with status 2. It never means that a run failed.
    """


class DivergedError(Exception):
    """A loss that is not finite; says at which epoch and step."""


class ReadingError(Exception):
    """Images that were there when the run began cannot be read any more, or whoever reads them has died; says why."""


class Interrupted(Exception):  # noqa: N818 - not an error: somebody asked, and all that was done is kept
    """Training was asked to stop; says where it did."""


class StoppedError(Exception):
    """Whoever watches a run has seen enough. It has not failed: it can be gone on with from its checkpoint."""
