"""What each step of LogLLM does (arXiv 2411.08561). Knows nothing of Prefect, tasks or flows.

For a notebook, `import logllm_core as logllm`: `dataset`, `prepare`, `train`, `evaluate`, `detect`,
`load` and `promote` are those of `logllm_core.library.notebook`, imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logllm_core.library.notebook import dataset as dataset
    from logllm_core.library.notebook import detect as detect
    from logllm_core.library.notebook import evaluate as evaluate
    from logllm_core.library.notebook import load as load
    from logllm_core.library.notebook import prepare as prepare
    from logllm_core.library.notebook import promote as promote
    from logllm_core.library.notebook import train as train

__all__ = ["dataset", "detect", "evaluate", "load", "prepare", "promote", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from logllm_core.library import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
