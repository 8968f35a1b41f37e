"""The house of the design, held against the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the ground up: a room imports only what stands below it, or beside it in the same room. A
# package's own file holds words for the rooms inside, and stands below them.
FLOORS = (
    "logllm_core.errors",
    "logllm_core.config",
    "logllm_core.progress",
    "logllm_core.signals",
    "logllm_core.tables",
    "logllm_core.store",
    "logllm_core.logs.records",
    "logllm_core.logs.catalog",
    "logllm_core.logs.sources",
    "logllm_core.logs.messages",
    "logllm_core.logs.windows",
    "logllm_core.logs.drafting",
    "logllm_core.logs.simulator",
    "logllm_core.model.sources",
    "logllm_core.model",
    "logllm_core.training",
    "logllm_core.scoring",
    "logllm_core.daily.ledger",
    "logllm_core.daily.champion",
    "logllm_core.daily.detect",
    "logllm_core.query",
    "logllm_core.verification",
    "logllm_core.pages",
    "logllm_core.evaluation.measures",
    "logllm_core.evaluation",
    "logllm_core.paper.building_blocks",
    "logllm_core.paper.detectors",
    "logllm_core.paper.experiments",
    "tasks",
    "flows",
    "flows.server",
    "flows.cli",
)
FORBIDDEN = {
    "logllm_core": {"prefect", "tasks", "flows"},
    "logllm_core.logs": {"torch", "transformers", "peft", "bitsandbytes"},
    "flows": {"torch", "transformers", "peft", "bitsandbytes"},
    "tasks": {"torch", "transformers", "peft", "bitsandbytes", "flows"},
}
ONLY_BACKBONES = {"transformers", "peft", "bitsandbytes"}
# Each takes seconds, and a command whose results are there needs neither.
WAIT_UNTIL_WANTED = {"peft", "bitsandbytes"}


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("flows", "tasks", "logllm_core"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


def imports(path: Path, *, is_at_once: bool = False) -> Iterator[tuple[int, str]]:
    """Line and name of what a module imports, at once with itself or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if is_at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


ROOMS = {module for module, path in modules() if path.name == "__init__.py"}


def room(name: str) -> str:
    """The floor that a module, or a name in it, stands on; its package's own file stands below."""
    within = [floor for floor in FLOORS if is_within(name, floor)]
    return max(within, key=len, default="")


def test_every_module_stands_on_a_floor() -> None:
    assert [m for m, _ in modules() if m not in ROOMS and not room(m)] == []
    assert [floor for floor in FLOORS if floor not in {m for m, _ in modules()}] == []


def test_no_import_runs_up_the_house() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        for line, name in imports(path)
        if room(name) and name.rpartition(".")[0] not in ROOMS - {m for m in ROOMS if name in MODULES}
        and floor_of(name) > floor_of(module)
    ]
    assert not faults, "\n".join(faults)


def test_what_is_slow_to_import_waits_until_it_is_wanted() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for _, path in modules()
        for line, name in imports(path, is_at_once=True)
        if name.split(".")[0] in WAIT_UNTIL_WANTED
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_does_not_know_what_it_must_not_know(room: str) -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        if is_within(module, room)
        for line, name in imports(path)
        if any(is_within(name, other) for other in FORBIDDEN[room])
    ]
    assert not faults, "\n".join(faults)


def test_backbones_alone_knows_the_model_libraries() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules()
        if module != "logllm_core.model.backbones"
        for line, name in imports(path)
        if name.split(".")[0] in ONLY_BACKBONES
    ]
    assert not faults, "\n".join(faults)


def test_environment_variables_are_read_in_flows_alone() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for module, path in modules()
        if not is_within(module, "flows")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not faults, "\n".join(faults)


def test_files_stay_short() -> None:
    lengths = {module: path.read_text(encoding="utf-8").count("\n") for module, path in modules()}
    assert {module: length for module, length in lengths.items() if length > 330} == {}


def test_every_package_is_installed() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {module for module, path in modules() if path.name == "__init__.py"}
    assert set(declared["tool"]["setuptools"]["packages"]) == packages
