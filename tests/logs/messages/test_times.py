from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.logs.messages.times import read_times


def read(time_format: str, *texts: str) -> list[datetime | None]:
    read_values: list[datetime | None] = read_times(
        [pa.array(texts, pa.string())], time_format
    ).to_pylist()
    return read_values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", datetime(1970, 1, 1)),
        ("1117838570", datetime(2005, 6, 3, 22, 42, 50)),
        ("01117838570", datetime(2005, 6, 3, 22, 42, 50)),
        ("99999999999", datetime(5138, 11, 16, 9, 46, 39)),
        *((text, None) for text in ("999999999999", "-1", "+1", "1117838570.5", "1e9", "noon", "")),
        *((text, None) for text in ("12\x00", "\xb2", "0x10", " 1")),
    ],
)
def test_seconds_since_1970_are_read_and_anything_else_is_null(
    text: str, expected: datetime | None
) -> None:
    assert read("epoch", text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1117838570363", datetime(2005, 6, 3, 22, 42, 50, 363_000)),
        ("99999999999999", datetime(5138, 11, 16, 9, 46, 39, 999_000)),
        ("999999999999999", None),
        ("1117838570.363", None),
    ],
)
def test_milliseconds_since_1970_are_read_and_anything_else_is_null(
    text: str, expected: datetime | None
) -> None:
    assert read("epoch_ms", text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T12:00:01", datetime(2024, 5, 1, 12, 0, 1)),
        ("2024-05-01 12:00:01", datetime(2024, 5, 1, 12, 0, 1)),
        ("2024-05-01T12:00:01.5", datetime(2024, 5, 1, 12, 0, 1, 500_000)),
        ("2024-05-01T12:00:01,123", datetime(2024, 5, 1, 12, 0, 1, 123_000)),
        ("2024-05-01T12:00:01.123456789Z", datetime(2024, 5, 1, 12, 0, 1, 123_456)),
        ("2024-05-01T12:00:01Z", datetime(2024, 5, 1, 12, 0, 1)),
        ("2024-05-01T12:00:01+02:00", datetime(2024, 5, 1, 10, 0, 1)),
        ("2024-05-01T12:00:01+0200", datetime(2024, 5, 1, 10, 0, 1)),
        ("2024-05-01T23:30:01.25-05:30", datetime(2024, 5, 2, 5, 0, 1, 250_000)),
        ("1969-12-31T23:59:59.75", datetime(1969, 12, 31, 23, 59, 59, 750_000)),
        *((text, None) for text in ("2024-05-01", "2024-13-01T12:00:01", "2024-05-01T25:00:01")),
        *((text, None) for text in ("2024-05-01T12:00:01.", "2024-05-01T12:00:01 Z", "", "now")),
        *((text, None) for text in ("2024-05-01T12:00:01+2", "x2024-05-01T12:00:01")),
    ],
)
def test_iso_times_are_read_with_their_fraction_and_zone(
    text: str, expected: datetime | None
) -> None:
    assert read("iso", text) == [expected]


@pytest.mark.parametrize(
    ("time_format", "text", "expected"),
    [
        ("%y%m%d %H%M%S", "081109 203518", datetime(2008, 11, 9, 20, 35, 18)),
        ("%y%m%d %H%M%S", "081399 203518", None),
        ("%y%m%d %H%M%S", "081109 2x3518", None),
        ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", datetime(2000, 10, 10, 20, 55, 36)),
        ("%b %d %H:%M:%S", "Jan  2 03:04:05", datetime(1900, 1, 2, 3, 4, 5)),  # tells no year
        ("%Y-%m-%d %H:%M:%S", "2005-06-03 10:00:00 and more", None),
        ("%Y-%m-%d", "2005-02-30", datetime(2005, 3, 2)),  # as the C library counts on
        ("%Y-%m-%d", "2004-02-29", datetime(2004, 2, 29)),
    ],
)
def test_a_format_is_read_as_strptime_reads_it(
    time_format: str, text: str, expected: datetime | None
) -> None:
    assert read(time_format, text) == [expected]


def test_fields_are_joined_by_blanks() -> None:
    fields = [pa.array(["081109", "x"]), pa.array(["203518", "203519"])]
    assert read_times(fields, "%y%m%d %H%M%S").to_pylist() == [
        datetime(2008, 11, 9, 20, 35, 18),
        None,
    ]


def test_lines_that_share_a_time_all_get_it_and_no_lines_get_none() -> None:
    second = datetime(1970, 1, 1, 0, 0, 5)
    assert read("epoch", "5", "x", "5", "6") == [
        second,
        None,
        second,
        second + timedelta(seconds=1),
    ]
    for time_format in ("epoch", "epoch_ms", "iso", "%Y %z"):
        read_values = read_times([pa.array([], pa.string())], time_format)
        assert (len(read_values), read_values.type) == (0, pa.timestamp("us"))


ZONES: st.SearchStrategy[tzinfo | None] = st.one_of(
    st.none(),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)), ZONES).map(
            lambda pair: pair[0].replace(tzinfo=pair[1])
        )
    ),
    st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
)
def test_any_time_that_python_writes_in_iso_is_read_back(times: list[datetime], unit: str) -> None:
    written = [time.isoformat(timespec=unit) for time in times]
    cut = [datetime.fromisoformat(text) for text in written]
    in_utc = [time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time for time in cut]
    assert read("iso", *written) == in_utc


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.sampled_from(["epoch", "epoch_ms", "iso", "%Y-%m-%d %H:%M:%S", "%b %d %z"]),
    st.lists(
        st.text(st.characters(max_codepoint=255)) | st.text("0123456789-:T .,Z+", max_size=30)
    ),
)
def test_no_text_is_too_odd_to_be_null(time_format: str, texts: list[str]) -> None:
    assert len(read(time_format, *texts)) == len(texts)


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("iso", "0000-01-01T00:00:00"),
        ("iso", "0001-01-01T00:00:00+02:00"),  # two hours before year 1
        ("iso", "9999-12-31T23:59:59-02:00"),
        ("%d/%b/%Y:%H:%M:%S", "01/Jan/0000:00:00:00"),
    ],
)
def test_a_time_that_python_cannot_tell_is_none(time_format: str, text: str) -> None:
    assert read(time_format, text) == [None]


def test_the_first_and_the_last_time_are_read() -> None:
    read_values = read("iso", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999")
    assert read_values == [datetime.min, datetime.max]
