"""What each step of LogLLM does (arXiv 2411.08561). Knows nothing of Prefect, tasks or flows.

For a notebook, `import logllm_core as logllm`: `dataset`, `prepare`, `train`, `evaluate`, `detect`,
`load` and `promote` are those of `notebook/functions.py`, imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logllm_core.notebook.functions import dataset as dataset
    from logllm_core.notebook.functions import detect as detect
    from logllm_core.notebook.functions import evaluate as evaluate
    from logllm_core.notebook.functions import load as load
    from logllm_core.notebook.functions import prepare as prepare
    from logllm_core.notebook.functions import promote as promote
    from logllm_core.notebook.functions import train as train

__all__ = ["dataset", "detect", "evaluate", "load", "prepare", "promote", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from logllm_core.notebook import functions

    return getattr(functions, name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
