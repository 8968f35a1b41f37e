"""Methods as artifacts: what they see, what they leave behind, and that a kill costs nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow.parquet as pq
import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.measures.intervals import intervals
from logllm_core.logs.windows.window_artifact import Windows, read_windows
from logllm_core.model.sources.named_backbones import (
    BACKBONES,
    BackboneFolders,
    Backbones,
    resolve_package,
)
from logllm_core.paper.building_blocks.interface import Bench, Ids, Method, Scorer, Scores, Training
from logllm_core.paper.building_blocks.training_windows import training_windows
from logllm_core.paper.detectors.all_methods import METHODS
from logllm_core.paper.detectors.detector_scores import (
    SCORED_SPLITS,
    Assignment,
    run_method,
    score_distinct,
)
from logllm_core.store.store import Artifact, Store
from tests.paper.logs import Log, hdfs_sample, simulated, trimmed

Briefly = Callable[..., Artifact]
WINDOWS = Windows(
    window_ids=np.arange(4),
    message_ids=[(0, 1), (2,), (1, 1), (3,)],
    is_anomalous=np.array([False, True, False, True]),
)


def fit_nothing(_: Training, __: object, ___: Bench) -> Scorer:
    raise AssertionError("not fitted here")


def a_method(labels: object) -> Method:
    return Method(
        name="tested",
        title="Tested",
        paper="",
        reads="messages",
        has_encoder=False,
        labels=labels,  # type: ignore[arg-type]
        settings=METHODS["deeplog"].settings,
        fit=fit_nothing,
        rule="",
    )


def test_a_semi_supervised_method_sees_normal_windows_only() -> None:
    seen = training_windows(a_method("normal windows only"), "own", WINDOWS)
    assert seen.message_ids == [(0, 1), (1, 1)]
    assert seen.window_ids.tolist() == [0, 2]
    assert seen.is_anomalous is not None
    assert not seen.is_anomalous.any()


@pytest.mark.parametrize("labels", ["all windows", "some normal windows"])
def test_others_see_all_windows(labels: str) -> None:
    assert training_windows(a_method(labels), "own", WINDOWS) is WINDOWS


def test_without_a_normal_window_there_is_nothing_to_learn_from() -> None:
    anomalous = Windows(window_ids=np.arange(1), message_ids=[(0,)], is_anomalous=np.array([True]))
    with pytest.raises(LogLLMError, match=r"own: none of the 1 training windows is normal, and"):
        training_windows(a_method("normal windows only"), "own", anomalous)


def test_without_labels_nothing_is_learnt() -> None:
    unlabelled = Windows(window_ids=np.arange(1), message_ids=[(0,)], is_anomalous=None)
    with pytest.raises(LogLLMError, match="own is not labelled"):
        training_windows(a_method("normal windows only"), "own", unlabelled)


def test_each_distinct_window_is_scored_once_and_gets_its_score_back() -> None:
    asked: list[Sequence[Ids]] = []

    def scorer(windows: Sequence[Ids]) -> Scores:
        asked.append(windows)
        return np.array([ids[0] / 10 for ids in windows])

    scores, num_distinct = score_distinct(scorer, [(3,), (1, 2), (3,), (1,)])
    assert scores.tolist() == [0.3, 0.1, 0.3, 0.1]
    assert num_distinct == 3
    assert asked == [[(3,), (1, 2), (1,)]]


def test_no_windows_are_no_scores() -> None:
    assert len(score_distinct(lambda _: np.ones(9), [])[0]) == 0


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return simulated(tmp_path_factory.mktemp("log"))


NOWHERE = BackboneFolders(
    named=Backbones(encoder="no/encoder", decoder="no/decoder"),
    encoder="no-encoder",
    decoder="no-decoder",
)


def run(
    name: str,
    log: Log,
    folders: BackboneFolders,
    data_dir: Path,
    *,
    minutes: float = 10.0,
    changes: Mapping[str, object] = MappingProxyType({}),
) -> Artifact:
    settings = trimmed(METHODS[name])
    known = {key: value for key, value in changes.items() if key in type(settings).model_fields}
    return run_method(
        Store(data_dir=data_dir),
        Assignment(
            dataset=log.name,
            method=METHODS[name],
            settings=settings.model_copy(update=known),
            seed=0,
            folders=folders,
            messages=log.messages,
            windows=log.windows,
        ),
        checkpoint_minutes=minutes,
    )


@pytest.fixture(scope="module")
def briefly(
    log: Log, folders: BackboneFolders, tmp_path_factory: pytest.TempPathFactory
) -> Briefly:
    """A method's run with next to no training; the same run again is found."""
    data_dir = tmp_path_factory.mktemp("briefly")

    def call(name: str, given: BackboneFolders | None = None) -> Artifact:
        given = given or (folders if METHODS[name].has_encoder else NOWHERE)
        return run(name, log, given, data_dir, changes={"num_epochs": 1, "max_samples": 100})

    return call


@pytest.mark.parametrize("name", METHODS)
def test_it_leaves_a_score_for_each_window_and_says_what_it_cost(
    name: str, log: Log, briefly: Briefly
) -> None:
    """What is said to ask no encoder is given none."""
    artifact = briefly(name)
    for split in SCORED_SPLITS:
        table = tables.read(artifact.path / f"split={split}", tables.SCORES)
        wanted = read_windows(log.windows, split)
        assert table["window_id"].to_pylist() == wanted.window_ids.tolist()
        assert set(table["detector"].to_pylist()) == {name}
        assert table["is_alarm"].to_pylist() == [
            score > 0.5 for score in table["score"].to_pylist()
        ]
    found = artifact.results
    assert found["fit_seconds"] > 0
    assert found["score_seconds"] > 0
    assert 0 < found["num_distinct_windows"] <= found["num_windows"]
    assert not list(artifact.path.parent.glob(".*checkpoints"))
    again = briefly(name)
    assert again.manifest["created"] == artifact.manifest["created"]


@pytest.mark.parametrize(
    ("name", "is_another"), [("deeplog", False), ("cnn", False), ("loganomaly", True)]
)
def test_another_encoder_is_another_training_where_the_method_asks_it(
    name: str, is_another: bool, folders: BackboneFolders, briefly: Briefly
) -> None:
    named = Backbones(encoder="another/encoder", decoder=folders.decoder)
    other = BackboneFolders(named=named, encoder=folders.encoder, decoder=folders.decoder)
    assert (briefly(name) != briefly(name, other)) == is_another


KILLED = """
import os
import signal
import sys
from pathlib import Path
from tests.paper.detectors.test_detector_scores import run
from tests.paper.logs import Log
from logllm_core.model.sources.named_backbones import Backbones, BackboneFolders
from logllm_core.store.store import Artifact
from logllm_core.training.training_state import TrainingState

take_step = TrainingState.take_step

def die_at_the_third(state, loss, rate):
    take_step(state, loss, rate)
    if state.progress.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingState.take_step = die_at_the_third
name, encoder, data_dir, messages, windows = sys.argv[1:]

def artifact(kind, place):
    return Artifact(kind=kind, dataset="simulated", fingerprint=Path(place).name, path=Path(place))

log = Log(
    name="simulated", messages=artifact("messages", messages), windows=artifact("windows", windows)
)
named = Backbones(encoder=encoder, decoder=encoder)
folders = BackboneFolders(named=named, encoder=encoder, decoder=encoder)
run(name, log, folders, Path(data_dir), minutes=0.0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_killed_in_the_middle_and_run_again_its_scores_are_the_same(
    name: str, log: Log, folders: BackboneFolders, tmp_path: Path
) -> None:
    whole = run(name, log, folders, tmp_path / "undisturbed")
    num_steps = whole.results["num_steps"]
    data_dir = tmp_path / "killed"
    arguments = (name, folders.encoder, data_dir, log.messages.path, log.windows.path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == (-signal.SIGKILL if num_steps else 0), killed.stderr.decode()
    resumed = run(name, log, folders, data_dir)
    assert resumed.results["num_resumes"] == (1 if num_steps else 0)
    for split in ("validation", "test"):
        first, second = (
            pq.read_table(a.path / f"split={split}" / "part-0.parquet") for a in (whole, resumed)
        )
        assert first.equals(second)
    metrics = [(a.path / "metrics.jsonl").read_bytes() for a in (whole, resumed)]
    assert metrics[0] == metrics[1]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Log:
    mirror = os.environ.get("LOGLLM_MIRROR")
    if not mirror:
        pytest.skip("LOGLLM_MIRROR names no folder with the HDFS sample")
    return hdfs_sample(tmp_path_factory.mktemp("sample"), Path(mirror))


@pytest.fixture(scope="module")
def pretrained() -> BackboneFolders:
    """The two-layer encoder knows none of the words of real messages."""
    named = BACKBONES["small"]
    return BackboneFolders(
        named=named, encoder=resolve_package(named.encoder), decoder=named.decoder
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_it_beats_chance_on_real_sessions(
    name: str, sample: Log, pretrained: BackboneFolders, tmp_path: Path
) -> None:
    """Chance would have a ROC-AUC of .5: the 95 % interval lies above it."""
    artifact = run(name, sample, pretrained, tmp_path)
    labels = read_windows(sample.windows, "test").is_anomalous
    assert labels is not None
    scores = tables.read(artifact.path / "split=test", tables.SCORES)["score"].to_numpy()
    roc_auc = intervals(labels, {name: scores}, {name: None})[name].areas["roc_auc"]
    assert roc_auc
    assert roc_auc.low > 0.5
