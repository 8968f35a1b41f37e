"""The first lines of a log that nobody has described yet."""

import glob
import io
import os
from dataclasses import dataclass
from pathlib import Path

from logllm_core.errors import LogLLMError
from logllm_core.logs.records.line_blocks import Block, read_blocks
from logllm_core.logs.sources.addresses import is_address
from logllm_core.logs.sources.archives import open_stream
from logllm_core.logs.sources.files import find_files

NUM_LINES = 2_000
MAX_BYTES = 4 << 20  # 2 kB a line; a file without ends of lines must not be read whole
MAX_CONTROL_FRACTION = 0.05  # of the bytes of a text; colours (ESC) are not counted
CONTROLS = bytes(code for code in range(32) if chr(code) not in "\t\n\v\f\r\x1b")


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledLog:
    """The first lines of a log's first file.

    Args:
        path: names the log's files: absolute, or an address, so that it holds in any folder.
        location: the file that was read, the first of `num_files`.
    """

    path: str
    location: str
    num_files: int
    block: Block


def take_sample(path: str) -> SampledLog:
    """The first lines at a path, a glob or an fsspec address.

    Raises:
        LogLLMError: there is no such file, it cannot be read, is empty, or is no text in lines.
    """
    placed = path if is_address(path) else _placed(path)
    locations = find_files([placed])
    return SampledLog(
        path=placed, location=locations[0], num_files=len(locations), block=_read(locations[0])
    )


def _placed(path: str) -> str:
    """The path from the root. What is missing is told here, where no TOML file is to blame yet."""
    placed = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 (~nobody is a name, too)
    if not placed.exists() and not _matches_something(str(placed)):
        raise LogLLMError(f"There is no file {placed}. Name a log file, or a glob in quotes.")
    return str(placed)


def _matches_something(pattern: str) -> bool:
    return glob.has_magic(pattern) and bool(glob.glob(pattern, recursive=True))  # noqa: PTH207


def _read(location: str) -> Block:
    with open_stream(location, None) as stream:
        text = stream.read(MAX_BYTES)
    if not text:
        raise LogLLMError(f"{location} is empty. Name a file that holds lines already.")
    num_controls = len(text) - len(text.translate(None, CONTROLS))
    if num_controls > MAX_CONTROL_FRACTION * len(text):
        raise LogLLMError(
            f"{location} is no text: {num_controls / len(text):.0%} of its first bytes are control "
            f"characters, and it begins with {text[:16]!r}. Wanted one message a line. Convert "
            "UTF-16 to UTF-8; give packed files their ending (.gz, .zst, .bz2, .xz)."
        )
    if len(text) == MAX_BYTES:  # the last line may be cut
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
    if not text:
        raise LogLLMError(
            f"{location}: no line ends within the first {MAX_BYTES:,} bytes. Wanted one message a "
            "line."
        )
    blocks = read_blocks(io.BytesIO(text), line_slice=(0, NUM_LINES))
    return Block(first_line_number=0, text=b"".join(block.text for block in blocks))
