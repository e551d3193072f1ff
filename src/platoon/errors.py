"""What went wrong, told in one line: the command line prints these without a traceback."""


class UserError(Exception):
    """Something that the user can put right: the message says what is wrong and what is allowed. Exit 2."""


class VerificationError(Exception):
    """A record that does not match: the message names the first thing that is wrong. Exit code 1."""


class HaltedError(Exception):
    """The protocol cannot go on: too few parties answer. Nothing that was committed is lost. Exit code 1."""


class WorkerError(RuntimeError):
    """A worker process failed or died; the message says what it was doing. Exit code 1."""
