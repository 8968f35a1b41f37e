"""What keeps one log from being judged while others are."""

from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from logllm_core.errors import LogLLMError


class UnreadableError(LogLLMError):
    """One log cannot be read; others can, and this one perhaps later."""


class ForeignError(UnreadableError):
    """One log is not what the data set's file says, and will not become it."""


class Faults:
    """What stands in the way, by a log's name: told when it comes, and when it is over."""

    def __init__(self) -> None:
        self._standing: dict[str, LogLLMError] = {}

    def __len__(self) -> int:
        return len(self._standing)

    def __contains__(self, name: str) -> bool:
        return name in self._standing

    def __str__(self) -> str:
        return "\n".join(dict.fromkeys(map(str, self._standing.values())))

    def begin(self, name: str, fault: LogLLMError) -> None:
        """Told once, however often it is met again."""
        if str(self._standing.get(name)) != str(fault):
            logger.warning("{}", fault)
        self._standing[name] = fault

    def end(self, name: str) -> None:
        if self._standing.pop(name, None):
            logger.info("{}: that is over", name)


@contextmanager
def faults_of(name: str) -> Iterator[None]:
    """Turn what is met while a log is read into its own fault."""
    try:
        yield
    except UnreadableError:
        raise
    except LogLLMError as fault:
        raise UnreadableError(str(fault)) from None
    except OSError as fault:
        raise UnreadableError(f"Cannot read {name}: {fault.strerror or fault}.") from None
