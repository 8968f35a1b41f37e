import gzip
import re
import tomllib
from datetime import datetime
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import (
    CountWindows,
    Dataset,
    FieldLabels,
    SessionLabels,
    SessionWindows,
    TimeWindows,
    find_dataset,
)
from logllm_core.logs.catalog.sources import LocalFile
from logllm_core.logs.drafting.draft import Draft, SampledLine, draft, write_draft
from logllm_core.logs.drafting.draft_text import quoted
from logllm_core.logs.drafting.known_formats import BARE_LINES, KNOWN_FORMATS
from logllm_core.logs.drafting.sampled_log import MAX_BYTES, NUM_LINES
from logllm_core.logs.sources import special_files
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, messages_of, published, windows_of

# Of each format: lines as programs write them; time and content of the first.
SAMPLES: dict[str, tuple[str, str, str]] = {
    "BlueGene/L": (
        "- 1117838570 2005.06.03 R02 2005-06-03-15.42.50.675872 R02 RAS KERNEL INFO up again\n"
        "KERNDTLB 1117838571 2005.06.03 R02 2005-06-03-15.42.51.7 R02 RAS KERNEL FATAL TLB error",
        "2005-06-03T22:42:50",
        "up again",
    ),
    "Thunderbird, Liberty or Spirit": (
        "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond[2915]: session closed\n"
        "VAPI 1131566462 2005.11.09 dn2 Nov 9 12:01:02 dn2/dn2 kernel: link is down",
        "2005-11-09T20:01:01",
        "crond[2915]: session closed",
    ),
    "HDFS": (
        "081109 203530 147 INFO dfs.DataNode$DataXceiver: Receiving block blk_43 src: /10.2\n"
        "081109 203531 29 WARN dfs.FSNamesystem: BLOCK* NameSystem.delete: blk_-7",
        "2008-11-09T20:35:30",
        "Receiving block blk_43 src: /10.2",
    ),
    "a label, then seconds since 1970": (
        "- 1117838570 link is up\n- 1117838571 link is up\nLINKDOWN 1117838572 link is down",
        "2005-06-03T22:42:50",
        "link is up",
    ),
    "syslog (RFC 5424)": (
        "<34>1 2003-10-11T22:14:15.003Z mine.example.com su - ID47 - 'su root' failed\n"
        '<165>1 2003-10-11T22:14:15.003Z mine evntslog 8710 ID47 [exampleSDID@1 a="\\]"] An entry',
        "2003-10-11T22:14:15.003",
        "'su root' failed",
    ),
    "syslog (RFC 3164)": (
        "Nov  9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session closed for user root\n"
        "Jun 14 15:16:01 combo kernel: klogd started\n"
        "Jun 14 15:16:01 combo last message repeated 2 times\n"
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
        "1900-11-09T12:01:01",
        "session closed for user root",
    ),
    "Apache or nginx access log": (
        '10.2.0.7 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 12 "-" "curl"\n'
        'shop.org:443 ::1 - j doe [17/May/2015:10:05:04 +0200] "-" 408 0',
        "2015-05-17T10:05:03",
        '"GET /a HTTP/1.1" 200 12 "-" "curl"',
    ),
    "Apache error log": (
        "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok\n"
        "[Wed Oct 11 14:32:52.123456 2023] [core:error] [pid 35:tid 43] (2)No such file",
        "2005-12-04T04:47:44",
        "workerEnv.init() ok",
    ),
    "nginx error log": (
        '2024/05/01 12:00:00 [error] 31#7: *1 open() "/x" failed (2: No such file)\n'
        "2024/05/01 12:00:01 [notice] 31#31: signal process started",
        "2024-05-01T12:00:00",
        '*1 open() "/x" failed (2: No such file)',
    ),
    "Spring Boot": (
        "2024-05-01T12:00:00.123Z  INFO 1 --- [           main] c.e.App    : Started App in 2 s\n"
        "2024-05-01T12:00:00.123+02:00  WARN 1 --- [app] [exec-1] o.s.web.X : No mapping",
        "2024-05-01T12:00:00.123",
        "Started App in 2 s",
    ),
    "time, level, logger (log4j, logback, Python)": (
        "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.MRAppMaster: Created master\n"
        "2024-05-01 12:00:00,123 [main] WARN  com.foo.Bar - slow: 3 s\n"
        "2024-05-01 12:00:00,123 ERROR shop.cart: no such article",
        "2015-10-18T18:01:47.978",
        "Created master",
    ),
    "time, logger, level (Python)": (
        "2024-05-01 12:00:00,123 - shop.cart - INFO - added 3 articles\n"
        "2024-05-01 12:00:01,003 - shop - ERROR - no such article",
        "2024-05-01T12:00:00.123",
        "added 3 articles",
    ),
    "time (ISO 8601) and level": (
        "2024-05-01T12:00:00+02:00 INFO added 3 articles\n"
        "[2024-05-01 12:00:00.5] [WARNING] slow\n"
        "2024-05-01 12:00:00.123 | INFO     | shop:add:12 - added\n"
        "2016-09-28 04:30:30, Info                  CBS    Loaded Servicing Stack\n"
        "2024-05-01 12:00:00 ERROR: no such article\n"
        "2015-07-29 17:41:44,747 - INFO  [QuorumPeer:Election@774] - Notification time out",
        "2024-05-01T10:00:00",
        "added 3 articles",
    ),
    "syslog with times in ISO 8601": (
        "2024-05-01T12:00:00.123456+00:00 web1 sshd[77]: session opened for user root\n"
        "2024-05-01T12:00:00.123456+00:00 web1 kernel: link is up",
        "2024-05-01T12:00:00.123456",
        "session opened for user root",
    ),
    "time (ISO 8601)": (
        "2025-06-24 14:36:25 startup archives unpack\n2025-06-24 14:36:26: status installed",
        "2025-06-24T14:36:25",
        "startup archives unpack",
    ),
    "Spark": (
        "17/06/09 20:10:40 INFO executor.Executor: Running task 1.0\n"
        "17/06/09 20:10:41 WARN memory.Store: Block rdd_2 evicted",
        "2017-06-09T20:10:40",
        "Running task 1.0",
    ),
    "Go": (
        "2009/11/10 23:00:00 listening on :80\n2009/11/10 23:00:00.000123 request served",
        "2009-11-10T23:00:00",
        "listening on :80",
    ),
    "Kubernetes (klog, glog)": (
        "I0501 12:00:00.123456       1 server.go:12] Starting controller\n"
        "E0501 12:00:01.123456   71234 leader.go:330] lost the lease",
        "1900-05-01T12:00:00",
        "Starting controller",
    ),
    "milliseconds since 1970": (
        "1117838570123 link is up\n[1117838570124] link is down",
        "2005-06-03T22:42:50.123",
        "link is up",
    ),
    "seconds since 1970": (
        "1117838570.123 link is up\n[1117838571] link is down",
        "2005-06-03T22:42:50",
        "link is up",
    ),
}
ISO_LINE = "2024-05-01 12:00:00 WARN disk is full"


def drafted(folder: Path, text: str | bytes, like: Dataset | None = None) -> Draft:
    path = folder / "own.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return draft("own", str(path), like)


def path_of(dataset: Dataset) -> str:
    assert isinstance(dataset.source, LocalFile)
    [path] = dataset.source.paths
    return path


def test_every_format_is_tried() -> None:
    assert list(SAMPLES) == [known.title for known in KNOWN_FORMATS]


@pytest.mark.parametrize("title", SAMPLES)
def test_a_format_is_recognised_by_its_lines(title: str, tmp_path: Path) -> None:
    text, time, content = SAMPLES[title]
    guess = drafted(tmp_path, text + "\n")
    assert guess.format_title == title
    assert (guess.num_unparsed, guess.num_without_time) == (0, 0)
    assert guess.num_lines == len(text.splitlines())
    assert guess.lines[0].time == datetime.fromisoformat(time)
    assert guess.lines[0].content == content


@pytest.mark.parametrize(
    ("title", "name"),
    [("BlueGene/L", "bgl"), ("Thunderbird, Liberty or Spirit", "liberty"), ("HDFS", "hdfs")],
)
def test_the_formats_of_the_catalog_are_read_as_the_catalog_reads_them(
    title: str, name: str
) -> None:
    known = next(known for known in KNOWN_FORMATS if known.title == title)
    line = published(name).line
    assert known.line.fields == line.fields
    assert known.line.time_fields == line.time_fields
    assert known.line.time_format == line.time_format


def test_lines_in_no_known_format_are_messages_as_they_stand(tmp_path: Path) -> None:
    guess = drafted(tmp_path, "link is up\n\nlink is down\n")
    assert guess.format_title == BARE_LINES.title
    assert guess.lines[1] == SampledLine(
        time=None, alert=None, session_ids=(), content="link is down"
    )
    assert guess.rejects == ((1, ""),)


def test_a_format_of_fewer_than_half_of_the_lines_is_none(tmp_path: Path) -> None:
    assert drafted(tmp_path, f"{ISO_LINE}\n" + "  at Cart.java\n" * 2).num_unparsed == 0
    guess = drafted(tmp_path, f"{ISO_LINE}\n" * 2 + "  at Cart.java\n" * 2)
    assert guess.format_title == "time (ISO 8601) and level"
    assert guess.rejects == ((2, "  at Cart.java"), (3, "  at Cart.java"))


def test_a_more_specific_format_wins_though_a_stray_line_fits_a_broader_one_alone(
    tmp_path: Path,
) -> None:
    stray = "2024-05-01 12:00:00 restarted\n"
    guess = drafted(tmp_path, f"{ISO_LINE}\n" * 99 + stray)
    assert (guess.format_title, guess.num_unparsed) == ("time (ISO 8601) and level", 1)
    guess = drafted(tmp_path, f"{ISO_LINE}\n" * 98 + stray * 2)
    assert (guess.format_title, guess.num_unparsed) == ("time (ISO 8601)", 0)


def test_a_format_whose_times_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert drafted(tmp_path, "2024-99-99 12:00:00 up\n").format_title == BARE_LINES.title


def test_words_before_a_number_are_no_labels_unless_most_of_them_say_normal(tmp_path: Path) -> None:
    assert drafted(tmp_path, "web1 1117838570 link is up\n").dataset.labels is None


def test_alerts_are_counted_where_lines_carry_labels(tmp_path: Path) -> None:
    guess = drafted(tmp_path, SAMPLES["BlueGene/L"][0])
    assert isinstance(guess.dataset.labels, FieldLabels)
    assert (guess.num_alerts, guess.lines[1].alert) == (1, "KERNDTLB")
    assert "can be prepared, and scored" not in guess.toml


def test_an_unlabelled_draft_says_what_it_is_good_for(tmp_path: Path) -> None:
    guess = drafted(tmp_path, ISO_LINE)
    assert guess.dataset.labels is None
    assert "can be prepared, and scored" in guess.toml


def without_marks(settings: str) -> str:
    """Commented settings as settings."""
    return re.sub(r"^# (?=\w+ = )", "", settings, flags=re.MULTILINE)


def read(toml: str) -> Dataset:
    return Dataset.parse({"name": "own", **tomllib.loads(toml)}, origin=toml)


@pytest.mark.parametrize("kind", ["field", "pattern", "sessions"])
def test_the_commented_labels_work(kind: str, tmp_path: Path) -> None:
    toml = drafted(tmp_path, ISO_LINE).toml
    [block] = [block for block in toml.split("#\n# [labels]") if f'\n# kind = "{kind}"' in block]
    block = block.partition("\n\n")[0]
    toml = toml.replace(f"# [labels]{block}", f"[labels]{without_marks(block)}")
    if kind == "field":
        toml = toml.replace("(?P<level>", "(?P<label>")  # as in a log that carries them
    if kind == "sessions":
        toml = toml.replace("# session_pattern", "session_pattern")
        toml = re.sub(r'^kind = "count"\nlength.*', 'kind = "session"', toml, flags=re.MULTILINE)
    labels = read(toml).labels
    assert labels is not None
    assert labels.kind == kind


def test_the_commented_windows_work(tmp_path: Path) -> None:
    rest, _, windows = drafted(tmp_path, ISO_LINE).toml.partition("\n[windows]\n")
    by_session = rest.replace("# session_pattern", "session_pattern")
    count, time, session = (without_marks(one) for one in windows.split("# Or:\n"))
    guess = read(f"{rest}\n[windows]\n{count}").windows
    assert isinstance(guess, CountWindows)
    assert (guess.length, guess.step) == (100, 50)
    assert isinstance(read(f"{rest}\n[windows]\n{time}").windows, TimeWindows)
    assert isinstance(read(f"{by_session}\n[windows]\n{session}").windows, SessionWindows)


def test_a_data_set_that_is_like_another_takes_over_its_format_labels_and_windows(
    tmp_path: Path,
) -> None:
    like = labelled_by_line(
        Path("/other.log"),
        labels={"kind": "pattern", "field": "content", "pattern": 'it\'s|"down"'},
        windows={"kind": "time", "length_seconds": 60, "step_seconds": 30},
    )
    guess = drafted(tmp_path, '- 1117838570 it\'s up\nX 1117838571 "down"\ny\n', like)
    assert guess.dataset.line == like.line
    assert guess.dataset.labels == like.labels
    assert isinstance(guess.dataset.windows, TimeWindows)
    assert guess.dataset.windows == like.windows
    assert [line.alert for line in guess.lines] == ["it's", '"down"']
    assert (guess.num_unparsed, guess.is_refused) == (1, True)


def test_labels_of_sessions_are_an_example_as_nobody_named_their_file(tmp_path: Path) -> None:
    guess = drafted(tmp_path, SAMPLES["HDFS"][0], published("hdfs"))
    assert isinstance(published("hdfs").labels, SessionLabels)
    assert isinstance(guess.dataset.windows, SessionWindows)
    assert guess.dataset.labels is None
    assert '# session_column = "BlockId"' in guess.toml
    assert guess.lines[0].session_ids == ("blk_43",)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_packed_files_and_globs_are_sampled(ending: str, tmp_path: Path) -> None:
    text = f"{ISO_LINE}\n".encode()
    packed = {"": lambda: text, ".gz": lambda: gzip.compress(text), ".zst": lambda: zstd(text)}
    for name in ("b", "a"):
        (tmp_path / f"{name}.log{ending}").write_bytes(packed[ending]())
    guess = draft("own", str(tmp_path / f"*.log{ending}"), None)
    assert guess.location == str(tmp_path / f"a.log{ending}")
    assert (guess.num_files, guess.num_lines) == (2, 1)
    assert path_of(guess.dataset) == str(tmp_path / f"*.log{ending}")


def zstd(text: bytes) -> bytes:
    packed: bytes = pa.compress(text, codec="zstd", asbytes=True)
    return packed


def test_an_address_stays_as_it_is() -> None:
    with fsspec.open("memory://drafts/own.log", "wb") as stream:
        stream.write(ISO_LINE.encode())
    guess = draft("own", "memory://drafts/own.log", None)
    assert path_of(guess.dataset) == "memory://drafts/own.log"


def test_a_relative_path_is_written_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted(tmp_path, ISO_LINE)
    monkeypatch.chdir(tmp_path)
    guess = draft("own", "own.log", None)
    assert path_of(guess.dataset) == str(tmp_path / "own.log")


def test_a_sample_is_the_first_lines_only(tmp_path: Path) -> None:
    guess = drafted(tmp_path, f"{ISO_LINE}\r\n" * (NUM_LINES + 7) + "\0")
    assert guess.num_lines == NUM_LINES


def test_a_line_that_the_sample_cuts_is_not_judged(tmp_path: Path) -> None:
    long = f"{ISO_LINE} {'x' * (MAX_BYTES // 2)}\n"
    assert drafted(tmp_path, long * 3).num_lines == 1


def test_a_draft_is_a_data_set_of_the_catalog(tmp_path: Path) -> None:
    guess = drafted(tmp_path, ISO_LINE)
    folder = tmp_path / "data" / "datasets"
    assert write_draft(guess, [folder]) == folder / "own.toml"
    catalogued = find_dataset("own", [folder])
    assert path_of(catalogued) == path_of(guess.dataset)
    assert catalogued.model_copy(update={"source": guess.dataset.source}) == guess.dataset
    assert [path.name for path in folder.iterdir()] == ["own.toml"]


@pytest.mark.parametrize("title", [*SAMPLES, BARE_LINES.title, "like hdfs"])
def test_a_draft_is_prepared_and_keeps_the_lines_that_it_shows(
    title: str, tmp_path: Path, store: Store
) -> None:
    text = SAMPLES.get(title, SAMPLES["HDFS"])[0] if title != BARE_LINES.title else "up"
    like = published("hdfs") if title == "like hdfs" else None
    guess = drafted(tmp_path, text * 3 + "\n\n", like)
    own = guess.dataset.line.model_copy(update={"max_unparsed_fraction": 0.5})
    dataset = guess.dataset.model_copy(update={"line": own})
    messages = messages_of(store, dataset)
    assert messages.results["num_lines"] == guess.num_lines
    assert messages.results["num_unparsed_lines"] == guess.num_unparsed > 0
    assert messages.results["num_alert_lines"] == guess.num_alerts
    assert windows_of(store, dataset).results["splits"]["train"]["num_windows"] >= 0


def test_a_draft_replaces_nothing(tmp_path: Path) -> None:
    guess = drafted(tmp_path, ISO_LINE)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "own.toml").write_text("mine")
        with pytest.raises(LogLLMError, match="There is a data set own already"):
            write_draft(guess, [tmp_path / "one", tmp_path / "two"])
        (folder / "own.toml").unlink()


def test_a_catalog_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    guess = drafted(tmp_path, ISO_LINE)
    with pytest.raises(LogLLMError, match="Cannot write to"):
        write_draft(guess, [tmp_path / "own.log" / "datasets"])


@pytest.mark.parametrize(
    "name",
    [
        "it's.log",
        '"quoted".log',
        "back\\slash\\n.log",
        "line\nbreak = 1\n[x].log",
        "tab\tesc\x1b\x7f.log",
        "glob[0-9]*?.log",
        "Größe 🎉\N{LINE SEPARATOR}\N{NO-BREAK SPACE}.log",
        '""".log',
        "a # b.log",
    ],
)
def test_whatever_a_file_is_called_it_is_found_again(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(ISO_LINE)
    guess = draft("own", str(tmp_path / name), None)
    write_draft(guess, [tmp_path])
    assert path_of(find_dataset("own", [tmp_path])) == str(tmp_path / name)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_is_that_text(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)} # {quoted(text)}") == {"x": text}


@pytest.mark.parametrize("pattern", ["a'b", "a\tb", r"a\d'\"'''", "ü\n"])
def test_whatever_a_pattern_holds_it_is_written_as_it_is(pattern: str, tmp_path: Path) -> None:
    line = {"pattern": f"(?P<content>.*(?:{pattern})?)", "session_pattern": f"{pattern}+"}
    like = labelled_by_line(Path("x"), line=line, labels=None, windows={"kind": "session"})
    assert drafted(tmp_path, ISO_LINE, like).dataset.line == like.line


def test_a_limit_is_told_when_the_sample_exceeds_it(tmp_path: Path) -> None:
    guess = drafted(tmp_path, f"{ISO_LINE}\n" * 49 + "  at Cart.java\n")
    assert guess.is_refused
    assert "1 of 50 lines sampled (2.0%) do not match" in guess.toml.replace("\n# ", " ")
    guess = drafted(tmp_path, f"{ISO_LINE}\n" * 100 + "  at Cart.java\n")
    assert not guess.is_refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "own.log is empty"),
        (b"\n \n\n", "the lines are blank"),
        (bytes(range(256)) * 8, "own.log is no text: 10% of its first bytes"),
        ("läuft\n".encode("utf-16"), "Convert UTF-16"),
        (b"x" * (MAX_BYTES + 1), "no line ends within the first 4,194,304 bytes"),
        (b'{"level": "info"}\n{"level": "warn"}\nup\n', r"JSON lines \(2 of the 3 sampled\)"),
    ],
)
def test_what_is_no_log_in_lines_is_one_error(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match=words):
        drafted(tmp_path, content)


def test_lines_in_braces_need_not_be_json(tmp_path: Path) -> None:
    guess = drafted(tmp_path, "{main} up\n" + "{" * 2_000 + "\n" + '{"a":' * 100_000 + "\n")
    assert guess.format_title == BARE_LINES.title


def test_a_missing_file_is_an_error_that_does_not_blame_a_toml_file(tmp_path: Path) -> None:
    for path in (tmp_path / "no.log", tmp_path / "*.log", "~nobody-0/no.log", tmp_path / "nul\0"):
        with pytest.raises(LogLLMError, match="There is no file") as fault:
            draft("own", str(path), None)
        assert "TOML" not in str(fault.value)
    with pytest.raises(LogLLMError, match="is a folder"):
        draft("own", str(tmp_path), None)
    with pytest.raises(LogLLMError, match="There is no file memory:"):
        draft("own", "memory://drafts/no.log", None)


def test_a_file_that_the_system_does_not_let_be_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if it were a file on a bad disk.
    monkeypatch.setattr(special_files, "_made_up_devices", frozenset)
    with pytest.raises(LogLLMError, match="/proc/self/mem cannot be read: Input/output error"):
        draft("own", "/proc/self/mem", None)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.log.gz").write_bytes(gzip.compress(ISO_LINE.encode() * 100)[:30])
    with pytest.raises(LogLLMError, match="damaged or cut off"):
        draft("own", str(tmp_path / "own.log.gz"), None)


@pytest.mark.parametrize("name", ["Own", "a b", "", "x" * 80, "../own", "temp"])
def test_a_name_that_the_catalog_refuses_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.log").write_text(ISO_LINE)
    with pytest.raises(LogLLMError, match="The new data set has 1 fault:\n  name: "):
        draft(name, str(tmp_path / "own.log"), None)


def test_no_line_like_the_others_is_an_error(tmp_path: Path) -> None:
    words = "none of the first 1 lines is like those of bgl. First: 'link is up'. Wanted: label"
    with pytest.raises(LogLLMError, match=words):
        drafted(tmp_path, "link is up\n", published("bgl"))
