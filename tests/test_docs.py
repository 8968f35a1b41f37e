"""README and the pages of docs/, held against the code: commands, queries, links, the tree."""

import ast
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.core import TyperGroup
from typer.main import get_command

import logllm_core
from flows.cli.main import app
from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.query import views
from logllm_core.store.store import Store
from tests.house import TREE, tree
from tests.logs.samples import messages_of
from tests.pages.sample_alarms import judged, write_source

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
QUERIES = re.findall(r"([^\n]+\?)\n\n```sql\n(.*?)```", PAGES["docs/sql.md"], flags=re.DOTALL)
MAX_README_LINES = 200
# In blocks of commands and between backticks: what begins with a program of ours.
COMMANDS = sorted(
    {
        (page, command.partition(" #")[0].strip())
        for page, text in PAGES.items()
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        for command in line.split(" | ")
        if command.startswith(("logllm ", "make ", "python -m "))
    }
    | {
        (page, command.replace("\n", " "))
        for page, text in PAGES.items()
        for command in re.findall(r"(?<!`)`((?:logllm|make|python -m) [a-z][^`]* --[^`]*)`", text)
    }
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Demo and hdfs, with predictions that call every window anomalous for its first message, and
    of the demo a new log with one alarm.
    """
    store = Store(data_dir=tmp_path_factory.mktemp("readme"))
    for name, shape in (("demo", "bgl"), ("hdfs", "hdfs")):
        published = find_dataset(name, [ROOT / "data" / "datasets"])
        source = {"kind": "simulator", "shape": shape, "num_lines": 4_000}
        dataset = Dataset.parse({**published.model_dump(), "source": source}, origin="a test")
        messages = messages_of(store, dataset)
        windows = build_windows(store, dataset, messages, validation_fraction=0.1)

        def predict(out_dir: Path, windows_path: Path = windows.path) -> dict[str, str]:
            found = tables.read(windows_path / "split=test", tables.WINDOWS)
            columns = {
                "window_id": found["window_id"],
                "probability": np.ones(len(found)),
                "verdict": ["anomalous"] * len(found),
                "is_anomalous": found["is_anomalous"],
            }
            part = Path("split=test", "part-0.parquet")
            tables.write(out_dir / part, pa.table(columns), tables.PREDICTIONS)
            carried = {
                "window_id": found["window_id"],
                "message_id": [ids[0] for ids in found["message_ids"].to_pylist()],
                "contribution": [2.0] * len(found),
            }
            path = out_dir / "contributions" / part
            tables.write(path, pa.table(carried), tables.CONTRIBUTIONS)
            return {}

        inputs = {"windows": windows}
        store.reuse_or_build(
            "predictions", name, config={}, inputs=inputs, version=1, build=predict
        )
    alarm = judged(7, lines=[(71, "disk failed", 2.5)])
    write_source(store, "demo", "0123456789abcdef", [alarm], path="app.log")
    views.refresh_views(store)
    return store


def test_the_readme_stays_short() -> None:
    assert README.count("\n") <= MAX_README_LINES


def test_the_tree_is_that_of_the_packages() -> None:
    assert TREE.findall(README) == [tree()], "python -m tests.house writes it anew"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", PAGES[page])
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_of_the_pages_is_one(page: str, command: str) -> None:
    """Its words are those that the program takes; what it does others test."""
    program, *words = shlex.split(command, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
    elif program == "python":
        assert find_spec(words[1])
    else:
        command_line, name = get_command(app), "logllm"
        while isinstance(command_line, TyperGroup) and words and words[0][0] != "-":
            context = command_line.make_context(name, words, resilient_parsing=True)
            called, subcommand, words = command_line.resolve_command(context, words)
            assert called
            assert subcommand
            name = called
            command_line = subcommand
        command_line.make_context(name, words)


def test_the_python_of_the_pages_names_what_is_there() -> None:
    """What it does `tests/notebook` tests."""
    blocks = [
        b for text in PAGES.values() for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ]
    named = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "logllm"
    }
    assert named == set(logllm_core.__all__) - {"load", "promote"}


def test_there_are_at_least_five_questions() -> None:
    assert len(QUERIES) >= 5


@pytest.mark.parametrize(("question", "query"), QUERIES, ids=[q for q, _ in QUERIES])
def test_a_question_of_the_readme_has_an_answer(store: Store, question: str, query: str) -> None:
    columns, rows = views.query(store, query)
    assert rows, question
    assert len(set(columns)) == len(columns)


def test_the_data_set_of_the_readme_is_one() -> None:
    (example,) = re.findall(
        r"```toml\n(title = \"Our shop.*?)```", PAGES["docs/own-logs.md"], flags=re.DOTALL
    )
    dataset = Dataset.parse({**tomllib.loads(example), "name": "shop"}, origin="the README")
    assert dataset.line.names == ("time", "level", "content")
