"""Data sets and setups by hand, for tests that train nothing."""

from collections.abc import Mapping
from typing import Any

from logllm_core.logs.catalog.catalog import CountWindows, Dataset, SessionWindows
from logllm_core.paper.experiments.ablation_table import Setup
from logllm_core.training.recipes import recipe_named

HUNDRED = CountWindows(kind="count", length=100)


def dataset_of(name: str, windows: CountWindows | SessionWindows = HUNDRED) -> Dataset:
    by_session = isinstance(windows, SessionWindows)
    line = {"fields": ["label", "content"]} | (
        {"session_pattern": r"blk_\d+"} if by_session else {}
    )
    values = {
        "name": name,
        "title": "A log",
        "source": {"kind": "simulator", "num_lines": 1_000},
        "line": line,
        "labels": {"kind": "field"},
        "windows": windows.model_dump(),
    }
    return Dataset.parse(values, origin="a test")


def setup_of(
    recipe: str,
    *,
    windows: CountWindows | SessionWindows = HUNDRED,
    changes: Mapping[str, Any] | None = None,
    backbones: str = "small",
) -> Setup:
    return Setup(
        dataset=dataset_of("bgl", windows),
        recipe=recipe_named(recipe).overridden(changes or {}),
        backbones=backbones,
    )
