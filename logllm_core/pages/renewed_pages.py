"""What is made of all verdicts about new logs, renewed after a batch."""

import hashlib
import os
from pathlib import Path

from logllm_core.daily.ledger.cursors import CURSOR, new_dir
from logllm_core.pages.alarms_page import PAGE, write_page
from logllm_core.query.views import FILE_NAME, refresh_views
from logllm_core.store.disk import Stamp, writable
from logllm_core.store.store import Store

VERSION = 1  # raise when the views or the page would be made otherwise
MADE_OF = ".renewed"  # beside the page


def renew(store: Store, dataset: str) -> Path:
    """The views, and the page of alarms; returns the page.

    Where no cursor was written since they were made, they are what they would be: with thousands of
    logs it takes longer to make them than to see that there is nothing new.
    """
    folder = new_dir(store, dataset)
    made_of, page = _digest(folder), folder / PAGE
    known = folder / MADE_OF
    are_there = page.exists() and (store.data_dir / FILE_NAME).exists() and known.exists()
    if are_there and known.read_text(encoding="utf-8") == made_of:
        return page
    refresh_views(store)
    write_page(store, dataset)
    with writable(folder):  # whatever was written meanwhile is not in it, and renews them again
        known.write_text(made_of, encoding="utf-8")
    return page


def _digest(folder: Path) -> str:
    """What changes with every cursor."""
    digest = hashlib.sha256(str(VERSION).encode())
    names = []
    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for name in names:
        if stamp := Stamp.at(folder / name / CURSOR):
            digest.update(f"{name} {stamp}\n".encode())
    return digest.hexdigest()
