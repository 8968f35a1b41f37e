"""What Prefect reads from the environment when it is imported."""

import os

PREFECT_ENVIRONMENT = {
    # A flow brings a server of its own, unless an exported PREFECT_API_URL names one.
    "PREFECT_PROFILE": "ephemeral",
    # Its own lines repeat ours; errors reach the person as one message, not as a traceback.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # As in pyproject.toml, which Prefect reads in this project's folder only.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}


def set_up_prefect() -> None:
    """Read when Prefect is imported, which is why the commands import their flow themselves."""
    for name, value in PREFECT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
