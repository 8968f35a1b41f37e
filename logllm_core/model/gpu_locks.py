"""Two runs never share a graphics card by accident."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.model.devices import card_uuid, num_cards, release_memory

POLL_SECONDS = 1.0
# One folder for all: what TMPDIR names may be a job's own.
LOCKS = Path("/tmp")  # noqa: S108 - the names are fixed, links are not followed


@contextmanager
def claim(*devices: torch.device) -> Iterator[None]:
    """Hold these cards, and wait for those that another run holds. A CPU is not claimed.

    The locks lie in one folder of the machine, so that runs with other data folders,
    other users' and other CUDA_VISIBLE_DEVICES are kept apart too; the kernel drops them with the
    process.

    Raises:
        LogLLMError: there is no such card, or a lock file cannot be used.
    """
    cards = [device for device in devices if device.type == "cuda"]
    missing = [str(card) for card in cards if (card.index or 0) >= num_cards()]
    if missing:
        raise LogLLMError(
            f"{', '.join(missing)} cannot be used: {num_cards()} cards can be seen. Ask for fewer "
            "processes, or look at CUDA_VISIBLE_DEVICES."
        )
    uuids = {card_uuid(card) for card in cards}
    with ExitStack() as held:
        for uuid in sorted(uuids):  # all runs in the same order: none waits for one that waits
            held.enter_context(claim_named(uuid, LOCKS))
        try:
            yield
        finally:
            gc.collect()  # a model may hold itself in a circle
            for card in cards:
                release_memory(card)


@contextmanager
def claim_named(name: str, folder: Path) -> Iterator[None]:
    """Hold the card called `name` by a lock file in `folder`, which any user can lock as well."""
    path = folder / f"logllm-card-{name}.lock"
    held = FileLock(path, mode=0o666)
    try:
        try:
            held.acquire(timeout=0)
        except Timeout:
            logger.info("Another run uses the card {}; waiting for it", name)
            held.acquire(poll_interval=POLL_SECONDS)
    except OSError as fault:
        raise LogLLMError(
            f"Cannot lock {path}, which keeps two runs off the card {name}: {fault.strerror}. "
            "Remove the file while no run uses the card, or make it writable for all (chmod 666)."
        ) from fault
    try:
        yield
    finally:
        held.release()
