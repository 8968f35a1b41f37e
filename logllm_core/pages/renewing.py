"""What is made of all verdicts about new logs, renewed after a batch."""

from pathlib import Path

from logllm_core.logs.views import refresh_views
from logllm_core.pages.alarms import write_page
from logllm_core.store import Store


def renew(store: Store, dataset: str) -> Path:
    """The views, and the page of alarms; returns the page."""
    refresh_views(store)
    return write_page(store, dataset)
