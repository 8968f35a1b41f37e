import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.evaluation import report
from logllm_core.evaluation.metrics import measure
from logllm_core.logs.catalog import Dataset
from logllm_core.logs.sources import obtain_log
from logllm_core.logs.windows import build_windows, read_windows
from logllm_core.store import Artifact, Store
from logllm_core.training.recipes import recipe_named
from tests.logs.samples import messages_of

HOSTILE = '<script>alert(1)</script> & "quotes" </pre><img src=x onerror=alert(2)> {{ 7 * 7 }}'
RECIPE = recipe_named("quick").overridden({"stages.1.num_epochs": 5})
STAGE = {
    "stage": {"name": "1", "trains": ["decoder"], "learning_rate": 5e-4},
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """60 lines in windows of five; the last line of every third window is an alert."""
    lines = [
        f"{'BAD' if number % 15 == 14 else '-'} {HOSTILE if number % 15 == 14 else 'fine'} {number}"
        for number in range(60)
    ]
    (tmp_path / "x.log").write_text("\n".join(lines))
    values = {
        "name": "hostile",
        "title": HOSTILE,
        "source": {"kind": "file", "path": str(tmp_path / "x.log")},
        "line": {"fields": ("label", "content")},
        "labels": {"kind": "field"},
        "windows": {"kind": "count", "length": 5},
        "train_fraction": 0.5,
    }
    return Dataset.parse(values, origin="test")


@pytest.fixture
def built(tmp_path: Path, dataset: Dataset) -> Artifact:
    store = Store(data_dir=tmp_path / "data")
    raw = obtain_log(store, dataset, mirror=None)
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.0)

    def train(out_dir: Path) -> dict[str, object]:
        (out_dir / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "rate": 0.1}\n')
        return {
            "num_steps": 1,
            "num_cut_messages": 0,
            "num_trained_parameters": 3,
            "num_parameters": 4,
            "first_loss": 0.5,
            "last_loss": 0.5,
            "training_seconds": 90.0,
            "peak_memory_bytes": 2_340_000_000,
            "peak_gpu_memory_bytes": 0,
            "num_processes": 1,
            "num_resumes": 2,
            "best_validation": {"step": 7, "pr_auc": 0.875},
            "is_stopped_early": True,
        }

    def predict(out_dir: Path) -> dict[str, object]:
        test = read_windows(windows, "test")
        # One of two anomalous windows is found, one normal window is a false alarm.
        probabilities = np.array([0.7, 0.1, 0.9, 0.2, 0.3, 0.4])
        table = pa.table(
            {
                "window_id": test.window_ids,
                "probability": probabilities,
                "verdict": ["normal"] * 6,
                "is_anomalous": test.is_anomalous,
            }
        )
        tables.write(out_dir / "split=test" / "part-0.parquet", table, tables.PREDICTIONS)
        return {
            "test": {"num_windows": 6, "num_distinct_windows": 6, "num_cut_windows": 0},
            "peak_memory_bytes": 1_000_000_000,
            "peak_gpu_memory_bytes": 3_210_000_000,
        }

    stage = store.reuse_or_build(
        "models", "hostile", config=STAGE, inputs={}, version=1, build=train
    )
    predictions = store.reuse_or_build(
        "predictions", "hostile", config={}, inputs={}, version=1, build=predict
    )
    run = report.Run(
        raw=raw, messages=messages, windows=windows, stages=(stage,), predictions=predictions
    )
    return report.build_report(store, dataset, recipe=RECIPE, backbones="small", run=run)


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_figures_are_those_of_the_predictions(built: Artifact) -> None:
    content = json.loads((built.path / "report.json").read_text())
    model = content["detectors"]["LogLLM"]
    counts = [
        model[f"{kind}_{sign}"] for kind in ("true", "false") for sign in ("positives", "negatives")
    ]
    assert counts == [1, 3, 1, 1]
    assert model["precision"] == 0.5
    # Ranked: hit (.9), false (.7), hit (.4), ...: (1/1 + 2/3) / 2.
    assert model["pr_auc"] == pytest.approx(5 / 6)


def test_the_windows_shown_lead_back_to_raw_lines(built: Artifact) -> None:
    content = json.loads((built.path / "report.json").read_text())
    found = {window["kind"]: window for window in content["windows"]}
    assert set(found) == {"missed", "false alarm", "found"}
    # Test windows are lines 30-34, 35-39, 40-44, ...; the third and the sixth hold an alert.
    assert [line["number"] for line in found["found"]["lines"]] == [40, 41, 42, 43, 44]
    alert = found["found"]["lines"][-1]
    assert (alert["content"], alert["alert"]) == (f"{HOSTILE} 44", "BAD")
    assert alert["num_cut_characters"] == 0
    assert [line["number"] for line in found["missed"]["lines"]] == [55, 56, 57, 58, 59]
    assert found["false alarm"]["lines"][0]["content"] == "fine 30"


def test_hostile_log_text_shows_as_text_and_nothing_is_fetched(built: Artifact) -> None:
    page = Page((built.path / "report.html").read_text())
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert f"{HOSTILE} 44" in page.text
    assert all(address.startswith("#") for address in page.addresses)


def test_the_page_tells_the_baseline_beside_the_model(built: Artifact) -> None:
    page = Page((built.path / "report.html").read_text())
    assert "logistic regression on message counts" in page.text
    assert "LogLLM reaches F1 0.500, behind " in page.text


def test_the_page_tells_what_each_stage_cost_and_what_was_changed(built: Artifact) -> None:
    text = " ".join(Page((built.path / "report.html").read_text()).text.split())
    # 90 s, 2.34 GB and no GPU; scoring used one.
    assert "0.500 → 0.500 1.5 2.34 none" in text
    assert "1.00 3.21" in text
    assert "Stage 1 kept the weights of step 7, the best by validation (PR-AUC 0.875)" in text
    assert "Stage 1 was cut off and went on 2 times." in text
    assert "Changed in the recipe quick: stages.1.num_epochs = 5." in text


@pytest.mark.parametrize(
    ("model", "baseline", "f1", "pr_auc"),
    [
        # One alarm each; where it is the wrong one, the anomaly ranks second: 1/2.
        ([0.9, 0.1], [0.1, 0.9], "1.000, ahead of rule (0.000)", "1.000, ahead of rule (0.500)"),
        (
            [0.9, 0.1],
            [0.9, 0.1],
            "1.000, level with rule (1.000)",
            "1.000, level with rule (1.000)",
        ),
        ([0.1, 0.9], [0.6, 0.5], "0.000, behind rule (1.000)", "0.500, behind rule (1.000)"),
    ],
)
def test_the_verdict_says_how_the_model_stands(
    model: list[float], baseline: list[float], f1: str, pr_auc: str
) -> None:
    labels = np.array([True, False])
    figures = {
        "LogLLM": measure(labels, np.array(model)),
        "rule": measure(labels, np.array(baseline)),
    }
    assert report.verdict(figures) == f"LogLLM reaches F1 {f1}, and PR-AUC {pr_auc}."


def test_the_verdict_on_normal_windows_alone_claims_nothing() -> None:
    figures = {name: measure(np.array([False]), np.array([0.1])) for name in ("LogLLM", "rule")}
    assert report.verdict(figures) == "LogLLM reaches F1 undefined, and PR-AUC undefined."
