import contextlib
import errno
import gzip
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from loguru import logger

from logllm_core import tables
from logllm_core.daily.detect import detect as detecting
from logllm_core.daily.detect import follow_file, judged_log, known_logs, one_log
from logllm_core.daily.detect.detect import detect
from logllm_core.daily.detect.detect_result import Detected, UnjudgedError
from logllm_core.daily.detect.log_claims import Claim, Claims
from logllm_core.daily.ledger.cursors import Look, cursors, new_parts
from logllm_core.errors import LogLLMError
from logllm_core.logs.sources import files, special_files
from logllm_core.model import window_answers
from logllm_core.query.views import query, refresh_views
from logllm_core.scoring import judge as judging
from logllm_core.scoring.new_log_judge import NewLogJudge
from logllm_core.store.disk import Stamp
from logllm_core.store.store import Artifact
from logllm_core.training.trained_model import load_model, save_weights
from tests.daily.new_logs import MIDDLE, crown, dataset_of, lines, prepare_champion, row_key
from tests.full_disk import no_file_beyond
from tests.scoring.setting import CPU, Setting

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return prepare_champion(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def setting(trained: Setting, tmp_path: Path) -> Setting:
    """A data folder of the test's own."""
    shutil.copytree(trained.store.data_dir.parent, tmp_path, dirs_exist_ok=True)
    store = type(trained.store)(data_dir=tmp_path / "data")
    path = store.data_dir / "models" / "own" / trained.trained.fingerprint
    model = Artifact(
        kind="models", dataset="own", fingerprint=trained.trained.fingerprint, path=path
    )
    found = Setting(
        store=store,
        recipe=trained.recipe,
        folders=trained.folders,
        messages=trained.messages,
        windows=trained.windows,
        trained=model,
    )
    crown(found)
    return found


@pytest.fixture(autouse=True)
def _middling_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "DECISION", MIDDLE)


@pytest.fixture
def num_scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows were scored, call by call."""
    found: list[int] = []
    real = window_answers.score_log_odds

    def counted(model: Any, collator: Any, windows: Any, vectors: Any) -> Any:
        found.append(len(windows))
        return real(model, collator, windows, vectors)

    monkeypatch.setattr(judging, "score_log_odds", counted)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """203 lines: 50 windows of four, and one of three."""
    path = tmp_path / "new.log"
    path.write_text("".join(lines(203)))
    return path


class Heard:
    """What `detect` told."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.rows: list[dict[str, Any]] = []

    def __call__(self, *paths: Path | str, **options: Any) -> Detected:
        self.rows = []
        dataset = dataset_of(self.setting.store.data_dir.parent, **options.pop("dataset", {}))
        given = {"tell": lambda table: self.rows.extend(table.to_pylist())} | options
        return detect(self.setting.store, dataset, [str(path) for path in paths], **given)

    def wait_for(self, num_rows: int) -> None:
        """For a thread beside it, until so much was told."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.rows) < num_rows and time.monotonic() < deadline:
            time.sleep(0.01)

    @property
    def ids(self) -> list[int]:
        return [row["window_id"] for row in self.rows]

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What the tables hold."""
        return [
            row
            for part in new_parts(self.setting.store, "own")
            for row in tables.read(part, tables.NEW_PREDICTIONS).to_pylist()
        ]


@pytest.fixture
def heard(setting: Setting) -> Heard:
    return Heard(setting)


def test_each_window_of_a_new_log_is_judged_told_and_kept(heard: Heard, log: Path) -> None:
    detected = heard(log)
    assert heard.ids == list(range(51))
    assert heard.kept == heard.rows
    assert [(row["first_line"], row["last_line"]) for row in heard.rows[-2:]] == [
        (196, 199),
        (200, 202),
    ]
    assert {row["verdict"] for row in heard.rows} == {"normal", "anomalous"}
    for row in heard.rows:
        assert (row["verdict"] == "anomalous") == (row["probability"] > MIDDLE)
        assert (row["lines"] is not None) == (row["verdict"] == "anomalous")
        assert row["is_anomalous"] is None
        assert row["source"] == str(log)
        assert row["num_unseen_lines"] == 0
        assert row["model"] == heard.setting.trained.fingerprint
        for line in row["lines"] or []:
            assert row["first_line"] <= line["line_number"] <= row["last_line"]
            wanted = log.read_text().splitlines()[line["line_number"]].partition(" ")[2]
            assert line["content"] == wanted
    num_anomalous = sum(row["verdict"] == "anomalous" for row in heard.rows)
    assert (detected.num_windows, detected.num_anomalous_windows) == (51, num_anomalous)
    assert (detected.num_logs, detected.num_lines) == (1, 203)


def test_lines_that_carry_labels_keep_them(heard: Heard, log: Path) -> None:
    labelled = lines(40, is_labelled=True)
    labelled[5] = labelled[5].replace("- ", "KERN ", 1)
    log.write_text("".join(labelled))
    heard(log)
    assert [row["is_anomalous"] for row in heard.rows] == [number == 1 for number in range(10)]


def test_a_log_that_was_judged_is_told_again_and_not_scored_again(
    heard: Heard, log: Path, num_scored: list[int]
) -> None:
    heard(log)
    first, before = heard.rows, list(num_scored)
    detected = heard(log)
    assert heard.rows == first == heard.kept
    assert num_scored == before
    assert (detected.num_windows, detected.num_lines) == (0, 0)
    heard(log, is_new_only=True)
    assert heard.rows == []


def test_a_log_that_grew_goes_on_where_it_ended(heard: Heard, log: Path) -> None:
    heard(log)
    with log.open("a") as stream:
        stream.writelines(lines(6, seed=2))
    detected = heard(log, is_new_only=True)
    assert [(row["window_id"], row["first_line"], row["last_line"]) for row in heard.rows] == [
        (51, 203, 206),
        (52, 207, 208),
    ]
    assert detected.num_lines == 6
    heard(log)
    assert heard.ids == list(range(53))


def test_a_log_is_known_by_its_content(heard: Heard, log: Path, num_scored: list[int]) -> None:
    heard(log)
    before = list(num_scored)
    renamed, packed = log.with_name("new.log.1"), log.with_name("new.log.2.gz")
    log.rename(renamed)
    with gzip.open(packed, "wb") as stream:
        stream.write(renamed.read_bytes())
    for path in (renamed, packed):
        detected = heard(path)
        assert (heard.ids, detected.num_windows) == (list(range(51)), 0)
    assert num_scored == before
    assert len(list(cursors(heard.setting.store, "own"))) == 1


def test_another_log_at_the_same_path_is_another_log(heard: Heard, log: Path) -> None:
    heard(log)
    log.write_text("".join(lines(40, seed=5)))
    heard(log)
    assert heard.ids == list(range(10))
    assert len(heard.kept) == 61


def test_the_same_messages_in_another_log_are_not_scored_again(
    heard: Heard, log: Path, num_scored: list[int]
) -> None:
    heard(log)
    first, before = [row["probability"] for row in heard.rows], list(num_scored)
    other = log.with_name("other.log")  # the same messages an hour later
    other.write_text(
        "".join(f"{int(line[:10]) + 3600}{line[10:]}" for line in log.read_text().splitlines(True))
    )
    detected = heard(other)
    assert [row["probability"] for row in heard.rows] == first
    assert num_scored == before
    assert detected.num_reused_windows == detected.num_windows == 51


def test_a_folder_is_all_of_its_logs(heard: Heard, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.log").write_text("".join(lines(8, seed=number)))
    detected = heard(folder)
    assert detected.num_logs == 3
    assert [(row["source"][-5:], row["window_id"]) for row in heard.rows] == [
        (f"{number}.log", window) for number in range(3) for window in range(2)
    ]


def test_logs_that_are_there_are_read_without_a_pause_between_them(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.log").write_text("".join(lines(8, seed=number)))
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert heard(folder).num_windows == 4
    assert heard(folder).num_windows == 0
    assert pauses == []


def test_a_log_that_cannot_be_read_does_not_stop_the_others(heard: Heard, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "1.log").write_text("nonsense\n" * 2_000)
    (folder / "2.log.gz").write_bytes(b"no gzip")
    (folder / "3.log").write_text("".join(lines(8)))
    (folder / "4.log").write_text("")
    published: list[int] = []
    with pytest.raises(LogLLMError) as fault:
        heard(folder, publish=lambda: published.append(len(heard.kept)))
    assert heard.ids == [0, 1]
    assert published == [2]
    assert "1.log" in str(fault.value)
    assert "2.log.gz" in str(fault.value)
    assert "3.log" not in str(fault.value)


def test_without_a_champion_it_says_what_to_do(heard: Heard, log: Path) -> None:
    shutil.rmtree(heard.setting.store.data_dir / "models")
    with pytest.raises(
        LogLLMError, match=r"own has no model yet\. Train one first: logllm train own"
    ):
        heard(log)


def test_what_was_written_down_but_not_told_is_told_next(heard: Heard, log: Path) -> None:
    def fail(table: pa.Table) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        heard(log, tell=fail)
    assert [row["window_id"] for row in heard.kept] == list(range(50))  # the last one is open
    heard(log, is_new_only=True)
    assert heard.ids == list(range(51))
    heard(log, is_new_only=True)
    assert heard.ids == []


def another_model(setting: Setting, seed: int) -> Artifact:
    """A second stage, with fresh weights of another seed."""
    recipe = setting.recipe.model_copy(update={"seed": seed})

    def train(out_dir: Path) -> dict[str, object]:
        model, _ = load_model(
            setting.folders,
            recipe,
            None,
            messages=setting.messages,
            windows=setting.windows,
            device=CPU,
        )
        save_weights(model, out_dir)
        return {}

    return setting.store.reuse_or_build(
        "models",
        "own",
        config={"seed": seed, "backbones": setting.folders.identity},
        inputs={},
        version=1,
        build=train,
    )


@pytest.fixture
def after_first_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Does something once, when the first of several batches of eight windows is judged."""

    def arrange(act: Callable[[], None]) -> None:
        monkeypatch.setattr(judged_log, "BATCH_WINDOWS", 8)
        real = NewLogJudge.judge
        acts = [act]

        def judge(self: NewLogJudge, windows: Any) -> Any:
            judged = real(self, windows)
            if acts:
                acts.pop()()
            return judged

        monkeypatch.setattr(NewLogJudge, "judge", judge)

    return arrange


def test_a_promoted_champion_judges_from_the_next_batch_on(
    heard: Heard, log: Path, after_first_batch: Callable[[Callable[[], None]], None]
) -> None:
    setting = heard.setting
    successor = another_model(setting, seed=7)
    after_first_batch(lambda: crown(setting, successor))
    heard(log)
    assert heard.ids == list(range(51))
    models = [row["model"] for row in heard.rows]
    assert models == [setting.trained.fingerprint] * 8 + [successor.fingerprint] * 43
    # Each has a memory of its own: what the first one said is not taken for the second one's.
    alone = Heard(setting)
    other = log.with_name("other.log")
    other.write_text(log.read_text() + "".join(lines(4, seed=9)))
    alone(other)
    wanted = [row["probability"] for row in alone.rows[8:50]]
    assert [row["probability"] for row in heard.rows[8:50]] == pytest.approx(wanted, abs=1e-6)


def test_a_successor_that_cannot_judge_is_told_and_the_judge_stays(
    heard: Heard, log: Path, after_first_batch: Callable[[Callable[[], None]], None]
) -> None:
    warnings: list[str] = []
    logger.add(warnings.append, level="WARNING")
    setting = heard.setting
    gone = replace(setting.trained, fingerprint="a" * 16)
    after_first_batch(lambda: crown(setting, gone))
    heard(log)
    assert {row["model"] for row in heard.rows} == {setting.trained.fingerprint}
    assert len(heard.rows) == 51
    assert len(warnings) == 1
    assert "goes on judging" in warnings[0]


def test_a_champion_with_another_masking_begins_with_windows_of_its_own(
    heard: Heard, log: Path, after_first_batch: Callable[[Callable[[], None]], None]
) -> None:
    setting = heard.setting
    recipe = setting.recipe.model_copy(update={"masking": "none"})
    after_first_batch(lambda: crown(setting, another_model(setting, seed=7), recipe=recipe))
    log.write_text("".join(lines(42)))
    heard(log)
    assert [(row["first_line"], row["last_line"]) for row in heard.rows][-2:] == [
        (36, 39),
        (40, 41),
    ]
    with log.open("a") as stream:
        stream.writelines(lines(4, seed=2))
    heard(log, is_new_only=True)
    assert [(row["first_line"], row["last_line"]) for row in heard.rows] == [(42, 45)]
    assert [state["masking"] for state in states(heard)] == ["none"]


def states(heard: Heard) -> list[Any]:
    return [cursor.state for _, cursor in cursors(heard.setting.store, "own")]


def test_a_full_disk_is_one_clear_error_and_costs_no_window(heard: Heard, tmp_path: Path) -> None:
    log = tmp_path / "big.log"
    log.write_text("".join(lines(8_000)))
    with (
        no_file_beyond(20_000),
        pytest.raises(LogLLMError, match=r"Cannot write to .*Free some space"),
    ):
        heard(log)
    assert heard.rows == []
    assert heard.kept == []
    heard(log)
    assert heard.ids == list(range(2_000))
    (folder,) = (folder for folder, _ in cursors(heard.setting.store, "own"))
    (cursor,) = (cursor for _, cursor in cursors(heard.setting.store, "own"))
    assert {path.name for path in folder.iterdir()} == cursor.names


def test_what_was_judged_can_be_queried(heard: Heard, log: Path) -> None:
    store = heard.setting.store
    heard(log, publish=lambda: refresh_views(store))
    statement = "select count(*), count(distinct window_id) from own.predictions where split='new'"
    assert query(store, statement)[1] == [(51, 51)]


def following(
    heard: Heard, path: Path, write: Callable[[], None], *, until: int, **options: Any
) -> Detected:
    """Follow a log that grows meanwhile, until so many windows were told."""
    writer = threading.Thread(target=write)
    deadline = time.monotonic() + PATIENCE_SECONDS
    writer.start()
    try:
        return heard(
            path,
            is_following=True,
            is_stopped=lambda: len(heard.rows) >= until or time.monotonic() > deadline,
            **options,
        )
    finally:
        writer.join()


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_a_log_is_followed_as_it_grows(heard: Heard, log: Path) -> None:
    log.write_text("".join(lines(9)))
    further = "".join(lines(9, seed=2))

    def write() -> None:
        for start in range(0, len(further), 7):  # in pieces of lines
            append(log, further[start : start + 7])
            time.sleep(0.01)

    following(heard, log, write, until=4)
    assert [(row["first_line"], row["last_line"]) for row in heard.rows][:4] == [
        (0, 3),
        (4, 7),
        (8, 11),
        (12, 15),
    ]
    heard(log)
    assert (heard.ids[-1], heard.rows[-1]["last_line"]) == (4, 17)


def test_a_window_that_waits_too_long_is_judged_as_it_is(heard: Heard, log: Path) -> None:
    log.write_text("".join(lines(6)))
    following(heard, log, lambda: None, until=2, max_delay_seconds=0.3)
    assert [row["num_lines"] for row in heard.rows] == [4, 2]


def test_following_tells_what_is_new_alone(heard: Heard, log: Path) -> None:
    log.write_text("".join(lines(8)))
    heard(log)
    following(heard, log, lambda: append(log, "".join(lines(4, seed=2))), until=1)
    assert heard.ids == [2]


def test_a_rotated_log_is_read_to_its_end_and_the_next_one_from_its_begin(
    heard: Heard, log: Path
) -> None:
    log.write_text("".join(lines(6)))

    def write() -> None:
        heard.wait_for(1)
        log.rename(log.with_name("new.log.1"))
        append(log.with_name("new.log.1"), "".join(lines(3, seed=2)))
        heard.wait_for(2)
        log.write_text("".join(lines(4, seed=3)))

    following(heard, log, write, until=4)
    assert [(row["window_id"], row["first_line"], row["num_lines"]) for row in heard.rows] == [
        (0, 0, 4),
        (1, 4, 4),
        (2, 8, 1),
        (0, 0, 4),
    ]


def test_after_a_rotation_in_between_the_rest_is_found_first(heard: Heard, log: Path) -> None:
    log.write_text("".join(lines(6)))
    following(heard, log, lambda: None, until=1)
    append(log, "".join(lines(3, seed=2)))
    log.rename(log.with_name("new.log.1"))
    log.write_text("".join(lines(4, seed=3)))
    following(heard, log, lambda: None, until=3)
    assert [(row["window_id"], row["first_line"], row["num_lines"]) for row in heard.rows] == [
        (1, 4, 4),
        (2, 8, 1),
        (0, 0, 4),
    ]
    following(heard, log, lambda: append(log, "".join(lines(4, seed=4))), until=1)
    assert [(row["window_id"], row["first_line"]) for row in heard.rows] == [(1, 4)]


def test_a_log_that_is_followed_may_come_later(heard: Heard, log: Path) -> None:
    log.write_text("")

    def write() -> None:
        time.sleep(0.3)
        append(log, "".join(lines(4)))

    following(heard, log, write, until=1)
    assert heard.ids == [0]


def test_several_logs_are_followed_side_by_side(heard: Heard, tmp_path: Path) -> None:
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    for number, path in enumerate(logs):
        path.write_text("".join(lines(4, seed=number)))
    deadline = time.monotonic() + PATIENCE_SECONDS
    heard(
        *logs,
        is_following=True,
        is_stopped=lambda: len(heard.rows) >= 3 or time.monotonic() > deadline,
    )
    assert sorted(row["source"] for row in heard.rows) == [str(path) for path in logs]
    assert len({row["log_id"] for row in heard.rows}) == len(logs)


def test_a_log_that_comes_into_a_followed_folder_is_followed(heard: Heard, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()

    def write() -> None:
        (folder / "early.log").write_text("".join(lines(4)))
        heard.wait_for(1)
        with (folder / "early.log").open("a") as stream:
            stream.write("".join(lines(4, seed=1)))
        heard.wait_for(2)
        (folder / "late.log").write_text("".join(lines(4, seed=2)))

    following(heard, folder, write, until=3)
    assert [(Path(row["source"]).name, row["window_id"]) for row in heard.rows] == [
        ("early.log", 0),
        ("early.log", 1),
        ("late.log", 0),
    ]


def test_a_pipe_is_a_log_and_its_windows_wait_no_longer_than_allowed(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = os.pipe()

    def write() -> None:
        os.write(sink, "".join(lines(6)).encode())
        heard.wait_for(2)
        os.write(sink, "".join(lines(5, seed=2)).encode())
        os.close(sink)

    with os.fdopen(source) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writer = threading.Thread(target=write)
        writer.start()
        heard("-", max_delay_seconds=0.3)
        writer.join()
    assert [row["num_lines"] for row in heard.rows] == [4, 2, 4, 1]
    assert {row["source"] for row in heard.rows} == {"-"}
    assert [row_key(row) for row in heard.kept] == [row_key(row) for row in heard.rows]


def test_a_cursor_holds_no_text_that_is_not_json(heard: Heard, log: Path) -> None:
    heard(log)
    (folder,) = (folder for folder, _ in cursors(heard.setting.store, "own"))
    assert json.loads((folder / "cursor.json").read_text())["num_told"] == 51


def sources(heard: Heard) -> list[tuple[int, str | None]]:
    """Of each log, how many windows were judged, and where it is followed."""
    found = (cursor for _, cursor in cursors(heard.setting.store, "own"))
    return sorted((cursor.num_windows, cursor.follows) for cursor in found)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def warnings() -> list[str]:
    found: list[str] = []
    logger.add(lambda message: found.append(str(message)), level="WARNING", format="{message}")
    return found


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers that wait no seconds."""
    monkeypatch.setattr(follow_file, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(follow_file, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(detecting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(detecting, "STILL_SECONDS", 0.2)
    monkeypatch.setattr(one_log, "AGAIN_SECONDS", 0.05)


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_a_log_as_long_as_the_one_that_it_follows_is_judged(heard: Heard, log: Path) -> None:
    log.write_text("".join(lines(8)))

    def write() -> None:
        heard.wait_for(2)
        wait_until(lambda: any(c.looks for _, c in cursors(heard.setting.store, "own")))
        log.rename(log.with_name("new.log.1"))
        log.write_text("".join(line[:-2] + "#\n" for line in lines(8)))

    following(heard, log, write, until=4)
    assert [(row["window_id"], row["first_line"]) for row in heard.rows] == [(0, 0), (1, 4)] * 2
    assert len({row["log_id"] for row in heard.rows}) == 2


def rotate(log: Path, name: str, text: str) -> None:
    time.sleep(0.01)  # files differ in time
    if log.exists():
        log.rename(log.with_name(name))
    log.write_text(text)


def test_a_log_that_is_known_by_a_wrong_look_is_told_from_its_content(
    heard: Heard, log: Path
) -> None:
    log.write_text("".join(lines(8)))
    following(heard, log, lambda: None, until=2)
    rotate(log, "new.log.1", "".join(lines(4, seed=2)))
    claims = Claims(heard.setting.store, "own")
    ((folder, _),) = cursors(heard.setting.store, "own")
    claim = claims.claim_folder(folder)
    assert claim
    claim.ledger.note_finished(Look.at(log))
    claim.release()
    claims = Claims(heard.setting.store, "own")
    found = [one for _, one in zip(range(3), claims.claim(str(log), is_read_on=True), strict=False)]
    assert found[0] is None
    assert isinstance(found[1], Claim)
    assert found[1].ledger.folder != folder
    found[1].release()


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_logs_that_came_and_went_while_nobody_looked_are_judged_in_their_order(
    heard: Heard, log: Path
) -> None:
    log.write_text("".join(lines(8)))
    following(heard, log, lambda: None, until=2)
    append(log, "".join(lines(4, seed=2)))
    rotate(log, "new.log.3", "".join(lines(12, seed=3)))
    rotate(log, "new.log.2", "".join(lines(16, seed=4)))
    rotate(log, "new.log.1", "".join(lines(20, seed=5)))
    following(heard, log, lambda: None, until=1 + 3 + 4 + 5)
    assert heard.ids == [2, *range(3), *range(4), *range(5)]
    assert sources(heard)[:3] == [(3, None), (3, None), (4, None)]


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_whoever_is_killed_on_logs_rotated_away_unread_leaves_them_to_the_next(
    heard: Heard, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("".join(lines(8)))
    real, is_killed = NewLogJudge.judge, threading.Event()

    def judge(self: NewLogJudge, windows: Any) -> Any:
        if is_killed.is_set():
            raise RuntimeError("killed")
        return real(self, windows)

    monkeypatch.setattr(NewLogJudge, "judge", judge)

    def write() -> None:
        heard.wait_for(2)
        is_killed.set()
        rotate(log, "new.log.3", "".join(lines(12, seed=3)))
        rotate(log, "new.log.2", "".join(lines(16, seed=4)))
        rotate(log, "new.log.1", "".join(lines(20, seed=5)))

    with pytest.raises(RuntimeError, match="killed"):
        following(heard, log, write, until=10)
    path = str(log)
    assert sources(heard) == [(0, path), (0, path), (2, None)]
    log.with_name("new.log.3").unlink()
    log.with_name("new.log.2").rename(log.with_name("new.log.4"))
    is_killed.clear()
    following(heard, log, lambda: None, until=3 + 4 + 5)
    assert heard.ids == [*range(3), *range(4), *range(5)]


def test_a_pipe_that_keeps_flowing_ends_when_asked(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = os.pipe()

    def write() -> None:
        heard.wait_for(1)
        for number in range(100):
            os.write(sink, "".join(lines(4, seed=number)).encode())
            time.sleep(0.005)
        os.close(sink)

    with os.fdopen(source) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(sink, "".join(lines(8)).encode())
        following(heard, Path("-"), write, until=4)
    assert len(list(cursors(heard.setting.store, "own"))) == 1


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_after_a_log_that_is_no_such_log_the_next_one_at_its_path_is_followed(
    heard: Heard, log: Path, warnings: list[str]
) -> None:
    log.write_text("nonsense\n" * 1_200)

    def write() -> None:
        wait_until(lambda: bool(warnings))
        append(log, "nonsense\n")  # it is tried again, and told no more
        time.sleep(0.3)
        rotate(log, "new.log.1", "".join(lines(8)))
        heard.wait_for(2)
        append(log, "".join(lines(4, seed=2)))

    with pytest.raises(UnjudgedError, match=r"none of the first 1,200 lines of .*new\.log"):
        following(heard, log, write, until=3)
    assert heard.ids == [0, 1, 2]
    assert len(warnings) == 1


BLOCKADES: dict[str, Callable[[Path], None]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", BLOCKADES)
def test_a_follower_outlives_what_is_no_file_at_its_path_for_a_while(
    heard: Heard, log: Path, warnings: list[str], kind: str
) -> None:
    log.write_text("".join(lines(4)))

    def write() -> None:
        heard.wait_for(1)
        log.rename(log.with_name("new.log.1"))
        BLOCKADES[kind](log)
        wait_until(lambda: bool(warnings))
        time.sleep(0.3)
        (log.rmdir if log.is_dir() else log.unlink)()
        log.write_text("".join(lines(4, seed=2)))

    following(heard, log, write, until=2)
    assert heard.ids == [0, 0]
    assert len(warnings) == 1
    assert str(log) in warnings[0]


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_a_follower_outlives_a_file_that_it_may_not_read_for_a_while(
    heard: Heard, log: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("".join(lines(4)))
    real, is_refused = special_files.opened_at_once, threading.Event()

    def opened(path: str, flags: int) -> int:  # a test may run as one who may read all
        if is_refused.is_set():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags)

    monkeypatch.setattr(files, "opened_at_once", opened)

    def write() -> None:
        heard.wait_for(1)
        is_refused.set()
        rotate(log, "new.log.1", "".join(lines(4, seed=2)))
        wait_until(lambda: bool(warnings))
        time.sleep(0.3)
        is_refused.clear()

    following(heard, log, write, until=2)
    assert heard.ids == [0, 0]
    assert [f"Cannot read {log}: Permission denied" in one for one in warnings] == [True]


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_a_follower_outlives_a_full_disk_and_no_window_is_lost(
    heard: Heard, log: Path, warnings: list[str]
) -> None:
    log.write_text("".join(lines(4)))

    def write() -> None:
        heard.wait_for(1)
        wait_until(lambda: all(c.looks for _, c in cursors(heard.setting.store, "own")))
        with no_file_beyond(1_000):
            append(log, "".join(lines(4, seed=2)))
            wait_until(lambda: any("Cannot write to" in one for one in warnings))
            time.sleep(0.2)
        append(log, "".join(lines(4, seed=3)))

    following(heard, log, write, until=3)
    assert heard.ids == [0, 1, 2]
    assert [row["window_id"] for row in heard.kept] == [0, 1, 2]
    assert sum("Cannot write to" in one for one in warnings) == 1  # and one of the memory's


def test_a_followed_log_that_is_not_there_yet_is_waited_for(
    heard: Heard, log: Path, warnings: list[str]
) -> None:
    log.unlink()

    def write() -> None:
        wait_until(lambda: bool(warnings))
        log.write_text("".join(lines(4)))

    following(heard, log, write, until=1)
    assert heard.ids == [0]
    assert [str(log) in message for message in warnings] == [True]
    with pytest.raises(LogLLMError, match="There is no file"):
        heard(log.with_name("gone.log"))


def source_of(heard: Heard, path: Path) -> Path:
    """The folder of what was judged of a log."""
    (found,) = (f for f, c in cursors(heard.setting.store, "own") if c.source == str(path))
    return found


@pytest.mark.parametrize("num_bytes_left", [0, 1, 600])  # of the cursor: its head is legible last
def test_a_damaged_cursor_costs_its_own_log_alone(
    heard: Heard, folder: Path, num_bytes_left: int
) -> None:
    other = folder / "other.log"
    other.write_text("".join(lines(4, seed=2)))
    heard(folder)
    damaged = source_of(heard, other) / "cursor.json"
    damaged.write_bytes(damaged.read_bytes()[:num_bytes_left])
    (folder / "third.log").write_text("".join(lines(4, seed=3)))
    with pytest.raises(UnjudgedError, match="restore it, or delete") as fault:
        heard(folder)
    assert [Path(row["source"]).name for row in heard.rows] == ["app.log", "app.log", "third.log"]
    assert str(other) in str(fault.value)
    assert (fault.value.detected.num_windows, fault.value.detected.num_faults) == (1, 2)
    assert len(heard.kept) == 3
    shutil.rmtree(damaged.parent)
    heard(folder)
    assert [Path(row["source"]).name for row in heard.rows][2:] == ["other.log", "third.log"]


def test_where_nothing_is_new_a_log_costs_two_looks_at_its_own_cursor(
    heard: Heard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (folder / f"{number}.log").write_text("".join(lines(4, seed=10 + number)))
    heard(folder)
    looks: list[Path] = []

    class Noted(Stamp):
        @classmethod
        def at(cls, path: Path) -> Stamp | None:
            looks.append(path)
            return super().at(path)

    monkeypatch.setattr(known_logs, "Stamp", Noted)
    heard(folder)
    assert len(heard.rows) == 11
    num_looks = Counter(looks)  # one when all were read, and one when the log was asked for
    assert set(num_looks.values()) == {2}
    assert len(num_looks) == 10


def test_damaged_verdicts_of_a_log_are_told_and_do_not_stop_the_others(
    heard: Heard, folder: Path
) -> None:
    other = folder / "other.log"
    other.write_text("".join(lines(4, seed=2)))
    heard(folder)
    (table,) = source_of(heard, folder / "app.log").glob("part-*.parquet")
    table.write_bytes(b"PAR1")
    with pytest.raises(UnjudgedError, match=r"part-.*is damaged.*restore it, or delete"):
        heard(folder)
    assert [row["source"] for row in heard.rows] == [str(other)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With one log of two windows."""
    found = tmp_path / "logs"
    found.mkdir()
    (found / "app.log").write_text("".join(lines(8)))
    return found


def is_open(path: Path) -> bool:
    """Whether this process holds it open; a deleted one's name is followed by a note."""
    links = []
    for held in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another thread has closed it meanwhile
            links.append(held.readlink())
    return any(str(link).split(" ")[0] == str(path) for link in links)


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
def test_a_packed_log_that_is_still_copied_is_judged_once_it_is_whole(
    heard: Heard, folder: Path
) -> None:
    warnings: list[str] = []
    logger.add(warnings.append, level="WARNING")
    packed = gzip.compress("".join(lines(400, seed=5)).encode())
    path = folder / "old.log.gz"

    def write() -> None:
        heard.wait_for(2)
        for start in range(0, 1_000, 100):  # never still
            with path.open("ab") as stream:
                stream.write(packed[start : start + 100])
            time.sleep(0.05)
        assert warnings == []
        wait_until(lambda: bool(warnings))  # the copy stands still, and is not whole
        with path.open("ab") as stream:
            stream.write(packed[1_000:])

    following(heard, folder, write, until=2 + 100)  # and at the end there is no fault
    assert heard.ids == [0, 1, *range(100)]
    assert len(warnings) == 1


@pytest.mark.slow  # it waits for a follower
@pytest.mark.usefixtures("hurried")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nobody tells what is open")
def test_in_a_folder_rotated_and_deleted_logs_are_not_held_open(heard: Heard, folder: Path) -> None:
    log, rotated, other = (folder / name for name in ("app.log", "app.log-20261120", "other.log"))
    (folder / "app.log-20261119").write_text("".join(lines(4, seed=9)))
    other.write_text("".join(lines(4, seed=1)))
    held: list[bool] = []

    def write() -> None:
        heard.wait_for(4)
        wait_until(lambda: not is_open(folder / "app.log-20261119"))
        held.extend([is_open(folder / "app.log-20261119"), is_open(other)])
        rotate(log, rotated.name, "".join(lines(4, seed=2)))
        other.unlink()
        heard.wait_for(5)
        wait_until(lambda: not is_open(rotated) and not is_open(other))
        held.extend([is_open(rotated), is_open(other), is_open(log)])
        other.write_text("".join(lines(4, seed=3)))  # it comes again

    following(heard, folder, write, until=6)
    assert held == [False, True, False, False, True]
    assert len({row["log_id"] for row in heard.rows}) == 5


def test_beside_the_follower_of_a_busy_log_another_call_tells_what_it_judged_so_far(
    heard: Heard, log: Path
) -> None:
    heard(log)
    append(log, "".join(lines(8, seed=2)))
    claims = Claims(heard.setting.store, "own")
    ((folder, _),) = cursors(heard.setting.store, "own")
    claims.note_source(folder, str(log), follows=str(log))
    claim = claims.claim_folder(folder)
    assert claim
    ends = time.monotonic() + 5
    detected = heard(log, is_stopped=lambda: time.monotonic() > ends)
    assert heard.ids == list(range(51))
    assert detected.num_followed_logs == 1
    told = "1 logs are followed by another call, and told as far as it came"
    assert told in detected.sentence
    claim.release()
    assert heard(log).num_followed_logs == 0
    assert heard.ids == list(range(53))
