"""From lines to message ids: parsed, masked, numbered."""
