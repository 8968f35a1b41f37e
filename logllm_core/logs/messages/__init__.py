"""From lines to message ids: parsed, masked, numbered."""

from typing import Literal

Masking = Literal["regex", "none", "drain-template", "drain-id"]  # the paper's preprocessings
