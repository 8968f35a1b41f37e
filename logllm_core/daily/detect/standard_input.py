"""Standard input, as much at once as there is."""

import os
import select
import sys
from collections.abc import Iterator

from logllm_core.logs.records.line_blocks import BLOCK_BYTES


def piped(wait_seconds: float) -> Iterator[bytes]:
    """Its bytes; none where nothing came for so long."""
    source = sys.stdin.fileno()
    while True:
        chunks: list[bytes] = []
        num_bytes = 0
        wait = wait_seconds
        while num_bytes < BLOCK_BYTES and select.select([source], [], [], wait)[0]:
            chunk = os.read(source, BLOCK_BYTES)
            if not chunk:
                yield b"".join(chunks)
                return
            chunks.append(chunk)
            num_bytes += len(chunk)
            wait = 0
        yield b"".join(chunks)
