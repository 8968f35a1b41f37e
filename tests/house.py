"""The tree of the house, as README shows it: each room, and the first line that it says of itself.

`python -m tests.house` writes it there anew.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TREE = re.compile(r"(?<=<!-- the tree: python -m tests.house -->\n```\n).*?(?=```\n)", re.DOTALL)
WIDTH = 26


def tree() -> str:
    """A line a room, the rooms of a room below it."""
    rooms = sorted(
        path.parent.relative_to(ROOT)
        for top in ("flows", "tasks", "logllm_core")
        for path in (ROOT / top).rglob("__init__.py")
    )
    return "".join(_line(room) for room in rooms)


def _line(room: Path) -> str:
    module = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    first = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
    name = "  " * (len(room.parts) - 1) + room.name + "/"
    return f"{name:{WIDTH}}{first}\n"


if __name__ == "__main__":
    written = README.read_text(encoding="utf-8")
    README.write_text(TREE.sub(lambda _: tree(), written), encoding="utf-8")
