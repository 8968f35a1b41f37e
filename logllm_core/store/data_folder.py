"""The data folder that a person names."""

import re
import stat
from pathlib import Path

from logllm_core.errors import LogLLMError

DATA_DIR = Path("data")  # where nobody names another


def checked_data_dir(data_dir: Path) -> Path:
    """The folder, which need not be there yet.

    Raises:
        LogLLMError: it cannot be one.
    """
    if fault := _fault_of_folder(data_dir):
        raise LogLLMError(
            f"The data folder cannot be {str(data_dir)!r}: {fault}. Choose another folder "
            "with --data-dir."
        )
    return data_dir


def _fault_of_folder(path: Path) -> str | None:
    if re.match(r"[A-Za-z0-9+]+:/", str(path)):
        return "a folder of this machine is wanted; share an address with --remote"
    if re.search(r"[?\\]", str(path)):  # of the first DuckDB makes options, of the second a slash
        return "DuckDB opens no database below a name with a question mark or a backslash"
    try:
        str(path).encode()  # it is written to manifests and pages
        return None if stat.S_ISDIR(path.stat().st_mode) else "it is no folder"
    except FileNotFoundError:
        return "it is a link to nothing" if path.is_symlink() else None
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    except (OSError, ValueError) as fault:  # the latter of a name with a NUL in it
        return str(getattr(fault, "strerror", fault))
