"""Errors that a user can cause and mend. Everything else is a fault of ours and may crash."""


class LogLLMError(ValueError):
    """The user's mistake: the message says what was found, what was wanted and what to do.

    The command line prints it as one line and exits with status 1, without a traceback.
    """
