"""Records: small JSON files that the program writes for itself, and believes only when whole.

Each holds a checksum of the rest. So a flipped bit is refused, whatever it would have meant.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logllm_core.errors import LogLLMError

CHECKSUM = "checksum"  # SHA-256 of the other values as sorted JSON


def seal(values: Mapping[str, Any]) -> bytes:
    """A record's bytes."""
    assert CHECKSUM not in values
    content = {**values, CHECKSUM: _checksum(values)}
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def unseal(content: bytes) -> dict[str, Any]:
    """The values of a record.

    Raises:
        ValueError: it is not what was written.
    """
    try:
        values = json.loads(content)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except ValueError as fault:
        raise ValueError(f"it is not JSON ({fault})") from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if values.pop(CHECKSUM, None) != _checksum(values):
        raise ValueError("its checksum is missing, or another than that of its content")
    return values


def read_record(path: Path, *, advice: str) -> dict[str, Any]:
    """The values of a record's file.

    Args:
        advice: what to do about a damaged one; a sentence.

    Raises:
        FileNotFoundError: there is none.
        LogLLMError: it is damaged, or cannot be read.
    """
    try:
        return unseal(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise FileNotFoundError(fault.errno, fault.strerror, str(path)) from None
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise LogLLMError(f"{path} is damaged: {reason}. {advice}") from None


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
