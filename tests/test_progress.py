import pytest
from loguru import logger

from logllm_core import progress


def test_long_work_is_told_in_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_SECONDS", 0.0)
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    with progress.track("Masking", total=2_000, unit="lines") as advance:
        advance(1_500)
        advance(500)
    with progress.track("Reading", unit="lines") as advance:
        advance(7)
    assert lines == [
        "Masking: 1,500 of 2,000 lines, 0 s",
        "Masking: 2,000 of 2,000 lines, 0 s",
        "Reading: 7 lines, 0 s",
    ]


def test_short_work_is_not_told() -> None:
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    with progress.track("Masking", total=10, unit="lines") as advance:
        advance(10)
    assert lines == []
