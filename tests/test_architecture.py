"""The house of the design, held against the code: who may import whom, and how large things are."""

import ast
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOPS = ("flows", "tasks", "logllm_core")
# From the ground up: a room imports only what stands below it, or beside it in the same room. A
# package's own file holds the words of the rooms inside, and stands below them; but
# `logllm_core/__init__.py` is the front door, and imports the library when it is asked.
FLOORS = (
    "logllm_core.errors",
    "logllm_core.config",
    "logllm_core.progress",
    "logllm_core.signals",
    "logllm_core.tables",
    "logllm_core.store",
    "logllm_core.logs.records",
    "logllm_core.logs.catalog",
    "logllm_core.logs.simulator",
    "logllm_core.logs.sources",
    "logllm_core.logs.messages",
    "logllm_core.logs.windows",
    "logllm_core.logs.drafting",
    "logllm_core.model.sources",
    "logllm_core.model",
    "logllm_core.training",
    "logllm_core.scoring",
    "logllm_core.daily.ledger",
    "logllm_core.daily.champion",
    "logllm_core.daily.detect",
    "logllm_core.query",
    "logllm_core.verification",
    "logllm_core.results",  # shown by pages, so below them
    "logllm_core.pages",
    "logllm_core.evaluation.measures",
    "logllm_core.evaluation",
    "logllm_core.pipeline",
    "logllm_core.paper.building_blocks",
    "logllm_core.paper.detectors",
    "logllm_core.paper.experiments",
    "logllm_core.notebook",
    "tasks",
    "flows",
    "flows.server",
    "flows.cli",
)
MODEL_LIBRARIES = {"torch", "transformers", "peft", "bitsandbytes"}
FORBIDDEN = {
    "logllm_core": {"prefect", *TOPS[:2]},
    "logllm_core.logs": MODEL_LIBRARIES,
    "flows": MODEL_LIBRARIES,
    "tasks": {*MODEL_LIBRARIES, "flows"},
}
KNOWN_TO = {  # the one module that imports a library of models
    "transformers": "logllm_core.model.backbones",
    "peft": "logllm_core.model.adapters",
    "bitsandbytes": "logllm_core.model.adapters",
}
# Each takes seconds, and a command whose results are there needs none of them.
WAIT_UNTIL_WANTED = {"transformers", "accelerate", "peft", "bitsandbytes"}
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 5
MAX_FILES = 15  # in a folder
# What these count is on its way out: a number here may fall, and never rises.
MAX_FOUND = 0  # names that say no more than that something was found
MAX_ANY = 12  # values of a report that no type checker sees


@cache
def trees() -> dict[str, tuple[Path, ast.Module]]:
    """Each module by its dotted name, its path within the project and its syntax tree."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            path.relative_to(ROOT),
            ast.parse(path.read_text(encoding="utf-8")),
        )
        for top in TOPS
        for path in sorted((ROOT / top).rglob("*.py"))
    }


def packages() -> set[str]:
    return {module for module, (path, _) in trees().items() if path.name == "__init__.py"}


def imports(module: str, *, is_at_once: bool = False) -> Iterator[tuple[str, str]]:
    """Where a module imports, and what: at once with itself, or anywhere."""
    path, tree = trees()[module]
    for node in tree.body if is_at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((f"{path}:{node.lineno}", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                yield f"{path}:{node.lineno}", f"{node.module}.{alias.name}"


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, str, ast.AST]]:
    """The module, the place in it and the node, of all nodes of these kinds."""
    for module, (path, tree) in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield module, f"{path}:{getattr(node, 'lineno', 0)}", node


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def floor(name: str) -> int:
    """The number of the floor that a module, or a name in it, stands on; -1 below all."""
    while name and name not in trees():
        name = name.rpartition(".")[0]
    if name in packages():
        return -1
    within = (number for number, room in enumerate(FLOORS) if is_within(name, room))
    return max(within, key=lambda number: len(FLOORS[number]))


def test_every_module_stands_on_a_floor_and_no_floor_is_empty() -> None:
    assert [
        m for m in trees() if m not in packages() and not any(is_within(m, f) for f in FLOORS)
    ] == []
    assert [f for f in FLOORS if not any(is_within(m, f) for m in trees())] == []


def test_no_import_runs_up_the_house() -> None:
    faults = [
        f"{place} imports {name}"
        for module in trees()
        if module != "logllm_core"
        for place, name in imports(module)
        if name.partition(".")[0] in TOPS and floor(name) > floor(module)
    ]
    assert not faults, "\n".join(faults)


def test_what_is_slow_to_import_waits_until_it_is_wanted() -> None:
    faults = [
        f"{place} imports {name}"
        for module in trees()
        for place, name in imports(module, is_at_once=True)
        if name.partition(".")[0] in WAIT_UNTIL_WANTED
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_does_not_know_what_it_must_not_know(room: str) -> None:
    faults = [
        f"{place} imports {name}"
        for module in trees()
        if is_within(module, room)
        for place, name in imports(module)
        if any(is_within(name, other) for other in FORBIDDEN[room])
    ]
    assert not faults, "\n".join(faults)


def test_one_module_alone_knows_a_library_of_models() -> None:
    faults = [
        f"{place} imports {name}"
        for module in trees()
        for place, name in imports(module)
        if KNOWN_TO.get(name.partition(".")[0], module) != module
    ]
    assert not faults, "\n".join(faults)


def test_environment_variables_are_read_in_flows_alone() -> None:
    faults = [
        place
        for module, place, node in nodes(ast.Attribute)
        if not is_within(module, "flows")
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not faults, "\n".join(faults)


def test_files_are_replaced_and_renamed_in_one_room_alone() -> None:
    """`a.replace(b)` of a path has one argument, of a text two; a time's have names."""
    faults = [
        place
        for module, place, node in nodes(ast.Call)
        if module != "logllm_core.store.disk"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr == "rename" or (node.func.attr == "replace" and len(node.args) == 1)
    ]
    assert not faults, "\n".join(faults)


def test_files_stay_short() -> None:
    lengths = {path: (ROOT / path).read_bytes().count(b"\n") for path, _ in trees().values()}
    faults = [
        f"{path}: {length} lines" for path, length in lengths.items() if length > MAX_FILE_LINES
    ]
    assert not faults, "\n".join(faults)


def test_functions_stay_short_and_take_few_positions() -> None:
    faults = []
    for _, place, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        assert node.end_lineno is not None
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        num_positional = len([name for name in names if name not in {"self", "cls"}])
        num_lines = node.end_lineno - node.lineno + 1
        if num_lines > MAX_FUNCTION_LINES or num_positional > MAX_POSITIONAL:
            faults.append(f"{place} {node.name}: {num_lines} lines, {num_positional} positions")
    assert not faults, "\n".join(faults)


def test_folders_stay_narrow() -> None:
    counts = Counter(path.parent for path, _ in trees().values())
    assert {folder: number for folder, number in counts.items() if number > MAX_FILES} == {}


def test_a_class_stands_once() -> None:
    places = defaultdict(list)
    for module, place, node in nodes(ast.ClassDef):
        if isinstance(node, ast.ClassDef) and is_within(module, "logllm_core"):
            places[node.name].append(place)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_name_says_what_was_found() -> None:
    places = [
        place
        for _, place, node in nodes(ast.Name, ast.arg)
        if (isinstance(node, ast.Name) and node.id == "found" and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.arg) and node.arg == "found")
    ]
    assert len(places) <= MAX_FOUND, "\n".join(places)


def test_figures_and_pages_are_typed() -> None:
    rooms = ("logllm_core.evaluation", "logllm_core.pages")
    places = [
        place
        for module, place, node in nodes(ast.Name)
        if isinstance(node, ast.Name) and node.id in {"Any", "Json"}
        if any(is_within(module, room) for room in rooms)
    ]
    assert len(places) <= MAX_ANY, "\n".join(places)


def test_every_package_is_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(declared["tool"]["setuptools"]["packages"]) == packages()


def test_every_step_that_runs_as_a_task_is_there() -> None:
    from importlib import import_module
    from inspect import signature
    from string import Formatter

    from tasks.step_tasks import RUN_NAMES

    for step, run_name in RUN_NAMES.items():
        module, _, function = step.rpartition(".")
        parameters = signature(getattr(import_module(f"logllm_core.{module}"), function)).parameters
        named = [field.partition(".")[0] for _, field, _, _ in Formatter().parse(run_name) if field]
        assert set(named) <= set(parameters), step
