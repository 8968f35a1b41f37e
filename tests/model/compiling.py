"""What tests of compiled code need."""

import shutil
from collections.abc import Callable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., None])

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler"
)


def lets_torch_warn(test: Test) -> Test:
    """torch's compiler imports torch's own deprecated code, and looks at every tensor's `grad`."""
    for pattern in (".torch.jit.script:DeprecationWarning", "The .grad attribute:UserWarning"):
        test = pytest.mark.filterwarnings(f"ignore:{pattern}")(test)
    return test
