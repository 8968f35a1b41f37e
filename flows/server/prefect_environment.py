"""What Prefect reads from the environment when it is imported."""

import os
import secrets
from pathlib import Path

from logllm_core.errors import LogLLMError

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
# Below the data folder, for a flow's own server: its database quotes log lines. That of `make up`
# (flows/server/service.py) lies elsewhere, as two servers would disturb each other there.
HOME_NAME = ".prefect-runs"
DATABASE = "prefect.db"


def set_up_prefect(data_dir: Path) -> None:
    """Read when Prefect is imported, which is why the commands import their flow themselves.

    Args:
        data_dir: below it a flow that brings its own server keeps that server's database, unless
            an exported PREFECT_HOME names a folder.

    Raises:
        LogLLMError: nothing can be written to that folder.
    """
    for name, value in PREFECT_ENVIRONMENT.items():
        # In this folder the profile that `make up` wrote knows the login of its server.
        if name != "PREFECT_PROFILE" or not os.environ.get("PREFECT_API_URL"):
            os.environ.setdefault(name, value)
    is_ephemeral = os.environ.get("PREFECT_PROFILE") == PREFECT_ENVIRONMENT["PREFECT_PROFILE"]
    if is_ephemeral and not os.environ.get("PREFECT_API_URL"):
        home_dir = data_dir.absolute() / HOME_NAME
        home_dir = Path(os.environ.setdefault("PREFECT_HOME", str(home_dir))).expanduser()
        _make_private(home_dir)
        # Its server answers this command and what it starts, and nobody else on this machine.
        login = os.environ.setdefault("PREFECT_SERVER_API_AUTH_STRING", make_login())
        os.environ.setdefault("PREFECT_API_AUTH_STRING", login)


def make_login() -> str:
    """What a server of Prefect's asks its callers for, as name:password."""
    return f"logllm:{secrets.token_urlsafe(32)}"


def _make_private(home_dir: Path) -> None:
    """A folder for one account alone, and the database, whose side files take its permissions."""
    if "?" in str(home_dir):  # what follows would be read as the database's options
        raise LogLLMError(
            f"Prefect cannot keep its database in {home_dir}, whose name holds a question mark. "
            "Rename the folder, or export PREFECT_HOME, the name of another one."
        )
    try:
        home_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home_dir / DATABASE).touch(mode=0o600)
    except OSError as fault:
        raise LogLLMError(
            f"Cannot write to {home_dir}, where Prefect keeps the database of its runs: "
            f"{fault.strerror}. Mend the permissions, choose another folder with --data-dir, or "
            "export PREFECT_HOME, the name of another one."
        ) from None
