r"""From lines to windows the slow way: the statement that the pipeline is compared with.

Lines are cut by `str.split`, masked by the reference's rules on Python's own engine, and put into
windows by slices and dicts.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from logllm_core.logs.catalog.catalog import (
    CountWindows,
    Dataset,
    FieldLabels,
    PatternLabels,
    SessionLabels,
    SessionWindows,
)

# The reference's rules as they are published, with their own groups.
REFERENCE_RULES = (
    r"True",
    r"true",
    r"False",
    r"false",
    r"\b(zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|million|billion)\b",
    r"\b(Mon|Monday|Tue|Tuesday|Wed|Wednesday|Thu|Thursday|Fri|Friday|Sat|Saturday|Sun|Sunday)\b",
    r"\b(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|Jun(?:e)?|Jul(?:y)?|Aug(?:ust)?"
    r"|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\s+(\d{1,2})\s+\b",
    r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d{1,5})?",
    r"([0-9A-Fa-f]{2}:){11}[0-9A-Fa-f]{2}",
    r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}",
    r"[a-zA-Z0-9]*[:\.]*([/\\]+[^/\\\s\[\]]+)+[/\\]*",
    r"\b[0-9a-fA-F]{8}\b",
    r"\b[0-9a-fA-F]{10}\b",
    r"(\w+[\w\.]*)@(\w+[\w\.]*)\-(\w+[\w\.]*)",
    r"(\w+[\w\.]*)@(\w+[\w\.]*)",
    r"[a-zA-Z\.\:\-\_]*\d[a-zA-Z0-9\.\:\-\_]*",
)
_REFERENCE = re.compile("|".join(REFERENCE_RULES))
_DOTS = re.compile(r"\.{3,}")
SPLITS = ("train", "validation", "test")


def mask_as_the_reference(content: str) -> str:
    return _REFERENCE.sub("<*>", _DOTS.sub(".. ", content))


@dataclass(frozen=True, kw_only=True)
class PlainMessage:
    line_number: int
    time: datetime | None
    content: str
    message_id: int
    alert: str | None
    session_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlainWindow:
    window_id: int
    session_id: str | None
    message_ids: tuple[int, ...]
    line_numbers: tuple[int, ...]
    alerts: tuple[bool, ...] | None
    is_anomalous: bool | None
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    messages: list[PlainMessage]
    vocabulary: list[str]
    rejects: list[tuple[int, str]]
    windows: dict[str, list[PlainWindow]]


def plain_prepare(
    dataset: Dataset,
    lines: Iterable[str],
    *,
    session_labels: Mapping[str, bool] | None = None,
    validation_fraction: float = 0.0,
    mask: Callable[[str], str] = mask_as_the_reference,
) -> Prepared:
    """Messages and windows of a log's lines, given as latin-1 without their ends."""
    messages, vocabulary, rejects = plain_messages(dataset, lines, mask)
    return Prepared(
        messages=messages,
        vocabulary=vocabulary,
        rejects=rejects,
        windows=_windows(dataset, messages, session_labels or {}, validation_fraction),
    )


def plain_messages(
    dataset: Dataset, lines: Iterable[str], mask: Callable[[str], str] = mask_as_the_reference
) -> tuple[list[PlainMessage], list[str], list[tuple[int, str]]]:
    """Messages, the vocabulary, and the lines that do not match the format."""
    messages: list[PlainMessage] = []
    rejects: list[tuple[int, str]] = []
    vocabulary: dict[str, int] = {}
    first, after = dataset.line_slice or (0, math.inf)
    for number, line in enumerate(lines):
        if not first <= number < after:
            continue
        fields = _cut(dataset, line)
        if fields is None:
            rejects.append((number, line))
            continue
        text = mask(fields["content"])
        messages.append(
            PlainMessage(
                line_number=number,
                time=_time(dataset, fields),
                content=fields["content"],
                message_id=vocabulary.setdefault(text, len(vocabulary)),
                alert=_alert(dataset, fields),
                session_ids=_session_ids(dataset, fields),
            )
        )
    return messages, list(vocabulary), rejects


def _cut(dataset: Dataset, line: str) -> dict[str, str] | None:
    if dataset.line.pattern is not None:
        matched = re.fullmatch(dataset.line.pattern, line, re.ASCII)
        if matched is None:
            return None
        fields = {name: text or "" for name, text in matched.groupdict().items()}
    else:
        names = dataset.line.fields
        words = line.split(maxsplit=len(names) - 1)
        if len(words) < len(names):
            return None
        fields = dict(zip(names, words, strict=True))
    return {**fields, "content": fields["content"].strip()}


def _time(dataset: Dataset, fields: Mapping[str, str]) -> datetime | None:
    text = " ".join(fields[name] for name in dataset.line.time_fields)
    time_format = dataset.line.time_format
    if time_format is None:
        return None
    if time_format in ("epoch", "epoch_ms"):
        if not re.fullmatch(r"[0-9]{1,11}" if time_format == "epoch" else r"[0-9]{1,14}", text):
            return None
        seconds = Fraction(int(text), 1 if time_format == "epoch" else 1_000)
        return datetime(1970, 1, 1) + timedelta(microseconds=int(seconds * 1_000_000))
    try:
        if time_format != "iso":
            return datetime.strptime(text, time_format)
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _alert(dataset: Dataset, fields: Mapping[str, str]) -> str | None:
    labels = dataset.labels
    if isinstance(labels, FieldLabels):
        tag = fields[labels.field]
        return None if tag == labels.normal else tag
    if isinstance(labels, PatternLabels):
        matched = re.search(labels.pattern, fields[labels.field], re.ASCII)
        return matched[0] if matched else None
    return None


def _session_ids(dataset: Dataset, fields: Mapping[str, str]) -> tuple[str, ...]:
    line = dataset.line
    if line.session_pattern is not None:
        return tuple(
            filter(
                None, dict.fromkeys(re.findall(line.session_pattern, fields["content"], re.ASCII))
            )
        )
    return (
        (fields[line.session_field],) if line.session_field and fields[line.session_field] else ()
    )


def _windows(
    dataset: Dataset,
    messages: Sequence[PlainMessage],
    session_labels: Mapping[str, bool],
    validation_fraction: float,
) -> dict[str, list[PlainWindow]]:
    by_session = isinstance(dataset.windows, SessionWindows)
    cut = _cut_by_session if by_session else _cut_by_place
    by_split: dict[str, list[PlainWindow]] = {split: [] for split in SPLITS}
    for number, (split, session, lines) in enumerate(cut(dataset, messages, validation_fraction)):
        has_alerts = dataset.labels is not None and not isinstance(dataset.labels, SessionLabels)
        alerts = tuple(line.alert is not None for line in lines) if has_alerts else None
        times = [line.time for line in lines if line.time is not None]
        by_split[split].append(
            PlainWindow(
                window_id=number,
                session_id=session,
                message_ids=tuple(line.message_id for line in lines),
                line_numbers=tuple(line.line_number for line in lines),
                alerts=alerts,
                is_anomalous=session_labels.get(session or "") if alerts is None else any(alerts),
                start_time=min(times, default=None),
                end_time=max(times, default=None),
            )
        )
    return by_split


Cut = Iterator[tuple[str, str | None, Sequence[PlainMessage]]]


def _sizes(dataset: Dataset, total: int, validation_fraction: float) -> list[int]:
    num_train = math.floor(total * Fraction(str(dataset.train_fraction)))
    num_validation = math.floor(num_train * Fraction(str(validation_fraction)))
    return [num_train - num_validation, num_validation, total - num_train]


def _cut_by_session(dataset: Dataset, messages: Sequence[PlainMessage], validation: float) -> Cut:
    assert isinstance(dataset.windows, SessionWindows)
    sessions: dict[str, list[PlainMessage]] = {}
    for message in messages:
        for session in message.session_ids:
            sessions.setdefault(session, []).append(message)
    seed = dataset.windows.seed
    drawn = sorted(sessions, key=lambda s: hashlib.md5(f"{seed}:{s}".encode()).hexdigest())  # noqa: S324
    sizes = _sizes(dataset, len(drawn), validation)
    splits = [split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
    split_of = dict(zip(drawn, splits, strict=True))
    for session in sorted(sessions, key=lambda s: (sessions[s][0].line_number, s)):
        yield split_of[session], session, sessions[session]


def _cut_by_place(dataset: Dataset, messages: Sequence[PlainMessage], validation: float) -> Cut:
    windows = dataset.windows
    if not isinstance(windows, CountWindows):
        messages = _with_times(messages)
    first = 0
    for split, size in zip(SPLITS, _sizes(dataset, len(messages), validation), strict=True):
        lines = messages[first : first + size]
        first += size
        if isinstance(windows, CountWindows):
            step = windows.step or windows.length
            for start in range(0, size, step):
                yield split, None, lines[start : start + windows.length]
                if start + windows.length >= size:
                    break
        else:
            assert not isinstance(windows, SessionWindows)
            length = windows.length_seconds
            for _, chosen in sorted(_spans(lines, length, windows.step_seconds or length).items()):
                yield split, None, chosen


def _with_times(messages: Sequence[PlainMessage]) -> list[PlainMessage]:
    latest = next(message.time for message in messages if message.time is not None)
    timed = []
    for message in messages:
        latest = message.time or latest
        timed.append(replace(message, time=latest))
    return timed


def _spans(lines: Sequence[PlainMessage], length: int, step: int) -> dict[int, list[PlainMessage]]:
    """Lines by the window's begin, in seconds since 1970."""
    spans: dict[int, list[PlainMessage]] = {}
    for line in lines:
        assert line.time is not None
        second = (line.time - datetime(1970, 1, 1)) // timedelta(seconds=1)
        begin = second - second % step
        while begin > second - length:
            spans.setdefault(begin, []).append(line)
            begin -= step
    return spans
