"""The queries and the data set of the README, held against the code."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.query import views
from logllm_core.store.store import Store
from tests.logs.samples import messages_of
from tests.pages.sample_alarms import judged, write_source

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"([^\n]+\?)\n\n```sql\n(.*?)```", README, flags=re.DOTALL)


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


def test_there_are_at_least_five_questions() -> None:
    assert len(QUERIES) >= 5


@pytest.mark.parametrize(("question", "query"), QUERIES, ids=[q for q, _ in QUERIES])
def test_a_question_of_the_readme_has_an_answer(store: Store, question: str, query: str) -> None:
    columns, rows = views.query(store, query)
    assert rows, question
    assert len(set(columns)) == len(columns)


def test_the_data_set_of_the_readme_is_one() -> None:
    (example,) = re.findall(r"```toml\n(title = \"Our shop.*?)```", README, flags=re.DOTALL)
    dataset = Dataset.parse({**tomllib.loads(example), "name": "shop"}, origin="the README")
    assert dataset.line.names == ("time", "level", "content")
