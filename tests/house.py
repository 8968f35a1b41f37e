"""The tree of the house, as README shows it: rooms, and the first line that each says of itself.

`python -m tests.house` writes it there anew.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TREE = re.compile(r"(?<=<!-- the tree: python -m tests.house -->\n```\n).*?(?=```\n)", re.DOTALL)
WIDTH = 26
TOPS = ("flows", "tasks", "logllm_core")


def tree() -> str:
    """A line a room, the rooms of a room below it; and one a file that stands in no room."""
    files = [
        *(path for top in TOPS for path in (ROOT / top).rglob("__init__.py")),
        *(path for path in (ROOT / TOPS[-1]).glob("*.py") if path.name != "__init__.py"),
    ]
    return "".join(_line(path) for path in sorted(files, key=_place))


def _place(path: Path) -> Path:
    return (path.parent if path.name == "__init__.py" else path).relative_to(ROOT)


def _line(path: Path) -> str:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[
        0
    ]
    place = _place(path)
    name = "  " * (len(place.parts) - 1) + place.name + ("" if place.suffix else "/")
    return f"{name:{WIDTH}}{first.rstrip('.')}\n"


if __name__ == "__main__":
    written = README.read_text(encoding="utf-8")
    README.write_text(TREE.sub(lambda _: tree(), written), encoding="utf-8")
