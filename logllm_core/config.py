"""What a person writes: frozen models, unknown keys forbidden, every fault of a file at once."""

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from logllm_core.errors import LogLLMError


class Settings(BaseModel):
    """Base of everything a person writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """Read a TOML file; `more` are values that the file does not hold, such as its name."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as fault:
            raise LogLLMError(f"Cannot read {path}: {fault.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise LogLLMError(f"{path} is not a TOML file: {fault}.") from None
        if taken := values.keys() & more.keys():
            raise LogLLMError(
                f"{path} sets {', '.join(sorted(taken))}, which the file's name tells. Remove it."
            )
        return cls.parse({**values, **more}, origin=str(path))


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
