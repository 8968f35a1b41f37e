"""Who may speak with the server of `make up`: whoever can read one file of this folder.

Prefect's server runs whatever its callers ask for, so each has a login of its own. The file is a
profile of Prefect (pyproject.toml names it), where `prefect ...` in this folder finds both.
"""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)

from flows.server.prefect_environment import make_login
from logllm_core.errors import LogLLMError
from logllm_core.store.disk import replace_file

PROFILES = "profiles.toml"
PROFILE = """\
# Written by `make up`. Whoever reads this may run commands as you: keep it to yourself.
active = "logllm"

[profiles.logllm]
PREFECT_API_URL = "{address}"
PREFECT_API_AUTH_STRING = "{login}"
"""


@contextmanager
def logged_in(home_dir: Path, address: str) -> Iterator[str]:
    """Speak with the server at `address` by this folder's login, which is made at the first time.

    Args:
        home_dir: the server's own folder; nobody else may enter it.

    Raises:
        LogLLMError: the file of the login is damaged.
    """
    login = get_or_make_login(home_dir, address)
    with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: login}):
        yield login


def client_environment() -> dict[str, str]:
    """Server and login, as they are in this process."""
    settings = get_current_settings().api
    login = settings.auth_string.get_secret_value() if settings.auth_string else None
    given = {"PREFECT_API_URL": settings.url, "PREFECT_API_AUTH_STRING": login}
    return {name: value for name, value in given.items() if value} | {"DO_NOT_TRACK": "1"}


def get_or_make_login(home_dir: Path, address: str) -> str:
    """The login; its file names the server's address as well, as it is now."""
    home_dir.mkdir(parents=True, exist_ok=True)
    home_dir.chmod(0o700)
    path = home_dir / PROFILES
    login = _read(path) if path.exists() else make_login()
    replace_file(path, PROFILE.format(address=address, login=login).encode())
    path.chmod(0o600)
    return login


def _read(path: Path) -> str:
    try:
        login = tomllib.loads(path.read_text())["profiles"]["logllm"]["PREFECT_API_AUTH_STRING"]
    except (ValueError, KeyError, TypeError):
        login = ""
    if not isinstance(login, str) or not login.isascii() or ":" not in login or '"' in login:
        raise LogLLMError(
            f"{path} holds no login for Prefect's server. Run `make down`, remove the file, and "
            "run `make up`: it makes another."
        )
    return login
