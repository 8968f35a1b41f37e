"""What a person writes: frozen models, unknown keys forbidden, every fault of a file at once."""

import errno
import stat
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from logllm_core.errors import LogLLMError

MAX_FILE_BYTES = 128 << 10
MAX_DOTS = 64  # in a line of the file


class Settings(BaseModel):
    """Base of everything a person writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _number_fits(cls, value: Any) -> Any:
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(one, int) and not -(2**63) <= one < 2**63 for one in numbers):
            raise ValueError("a number of at most 64 bits is wanted")
        return value

    @classmethod
    def parse(cls, values: object, *, origin: str) -> Self:
        """Check `values`; `origin` names them in the error.

        Raises:
            LogLLMError: naming every fault, one a line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as fault:
            raise LogLLMError(describe_faults(fault, origin=origin)) from None

    @classmethod
    def load(cls, path: Path, **more: Any) -> Self:
        """Read a TOML file; `more` are values that the file does not hold, such as its name.

        Raises:
            LogLLMError: it cannot be read, is no TOML file, or has faults.
        """
        try:
            values = _read(path)
            if taken := values.keys() & more.keys():
                raise LogLLMError(
                    f"{path} sets {', '.join(sorted(taken))}, which the file's name tells. "
                    "Remove it."
                )
            return cls.parse({**values, **more}, origin=str(path))
        except RecursionError:
            raise LogLLMError(f"{path} nests too deeply. No setting needs that.") from None


def _read(path: Path) -> dict[str, Any]:
    """The values of a TOML file, within bounds: a file may be hostile."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise OSError(errno.EINVAL, "it is no file")
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as fault:  # a name with a NUL in it is a ValueError
        raise LogLLMError(f"Cannot read {path}: {getattr(fault, 'strerror', fault)}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise LogLLMError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes. Is it a settings file?")
    # Python's reader takes time that grows with the square of a dotted name's length.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.count(b".") > MAX_DOTS:
            raise LogLLMError(
                f"Line {number:,} of {path} has more than {MAX_DOTS} dots. Write a list over "
                "several lines, or a pattern in another way."
            )
    try:
        return tomllib.loads(content.decode("utf-8"))
    except ValueError as fault:  # also of UTF-8, and of a number with thousands of digits
        raise LogLLMError(f"{path} is not a TOML file: {fault}.") from None


def describe_faults(fault: ValidationError, *, origin: str) -> str:
    """Pydantic's faults as lines that say where, what was found and what was wanted."""
    lines = []
    for error in fault.errors(include_url=False):
        place = ".".join(str(step) for step in error["loc"]) or "(the whole)"
        if error["type"] == "extra_forbidden":
            lines.append(f"  {place}: no such setting; remove it or correct its spelling")
        elif error["type"] == "missing":
            lines.append(f"  {place}: missing")
        else:
            lines.append(f"  {place}: {error['msg']}, found {error['input']!r:.80}")
    return f"{origin} has {len(lines)} fault{'s'[: len(lines) > 1]}:\n" + "\n".join(lines)
