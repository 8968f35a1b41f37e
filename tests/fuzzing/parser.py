"""The parser and the masking against their plain statement, over every format that is known."""

import io
from random import Random
from typing import Any, cast

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.catalog.line_format import EPOCH
from logllm_core.logs.drafting.known_formats import BARE_LINES, KNOWN_FORMATS
from logllm_core.logs.messages.masking import mask_messages
from logllm_core.logs.messages.parsing import parse_block
from logllm_core.logs.records.line_blocks import Block, read_blocks
from tests.fuzzing import hostile
from tests.logs.plain import mask_as_the_reference, plain_messages
from tests.logs.samples import lines_as_python_reads_them, of_line, published

TRACKED = ("bgl", "demo", "hdfs", "liberty", "spirit", "thunderbird")
SAMPLES = (
    b"- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.363779 R02-M1-N0-C:J12-U11 "
    b"RAS KERNEL INFO instruction cache parity error corrected",
    b"081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block "
    b"blk_38865049064139660 terminating, blk_-1 /10.250.19.102:54106",
    b"- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: closed",
    b"ECC 1131566462 2005.11.09 tbird-admin1 Nov 10 00:01:01 local@tbird-admin1 kernel: ECC error",
    b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 [x y=\"z\"] 'su root' failed",
    b"<13>Oct  3 09:14:15 host cron[12]: (root) CMD (run-parts /etc/cron.hourly)",
    b'10.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326',
    b"[Sun Dec 04 04:47:44 2005] [error] mod_jk child workerEnv in error state 6",
    b"2017/05/16 00:00:00 [error] 26#26: *1 connect() failed",
    b"2024-05-01 12:00:00.123  INFO 4711 --- [main] o.s.b.App : Started in 3.2 seconds",
    b"2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.MRAppMaster: Created",
    b"2024-05-01 12:00:00,123 - my.logger - WARNING - disk 7 is slow",
    b"2024-05-01T12:00:00+02:00 host sshd[24200]: Failed password for root from 1.2.3.4 port 22",
    b"17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered",
    b"2017/05/16 00:00:00.123456 listening on :8080",
    b"I0501 12:00:00.123456    4711 server.go:12] started",
    b"1117838570123 node up",
    b"1117838570 node down",
    b"just words",
)


def _datasets() -> list[Dataset]:
    """The tracked data sets, every format that a draft may propose, and labels by pattern."""
    known = [
        of_line(
            entry.labels.model_dump() if entry.labels else None,
            **entry.line.model_dump(exclude_defaults=True),
        )
        for entry in (*KNOWN_FORMATS, BARE_LINES)
    ]
    by_pattern = {"kind": "pattern", "pattern": "fail(?:ed|ure)?|error|[Pp]anic"}
    named = {"pattern": r"(?P<session>\S+) (?P<content>.*)", "session_field": "session"}
    words = {"fields": ["time", "session", "content"], "session_field": "session"}
    more = [of_line(by_pattern, **cast(Any, line)) for line in (named, words)]
    return [*map(published, TRACKED), *known, *more]


DATASETS = _datasets()
NUM_LOGS = 32


def fuzz(random: Random) -> list[str]:
    """Logs of up to six lines, each read alone in blocks of any size, and parsed together."""
    dataset = random.choice(DATASETS)
    logs = [hostile.log(random, SAMPLES, random.randrange(7)) for _ in range(NUM_LOGS)]
    texts, lines = b"", list[str]()
    for raw in logs:
        blocks = list(read_blocks(io.BytesIO(raw), block_bytes=random.choice((1, 7, 64, 4096))))
        own = [text for block in blocks for text in block.lines().to_pylist()]
        assert own == lines_as_python_reads_them(raw), raw
        texts += b"".join(block.text for block in blocks)
        lines += own
    _compare(dataset, Block.of(texts, first_line_number=0), lines)
    return ["read" if raw else "empty" for raw in logs]


def _compare(dataset: Dataset, block: Block, lines: list[str]) -> None:
    """Line by line, so that what differs can be told."""
    parsed = parse_block(dataset, block)
    messages, vocabulary, rejects = plain_messages(dataset, lines)
    wanted: dict[int, object] = dict(rejects)
    for one in messages:
        text = vocabulary[one.message_id]
        time = one.time if dataset.line.time_format == EPOCH else None
        wanted[one.line_number] = (one.content, text, one.alert, one.session_ids, time)
    found: dict[int, object] = dict(
        zip(parsed.reject_numbers.to_pylist(), parsed.reject_lines.to_pylist(), strict=True)
    )
    masked = mask_messages(parsed.contents)
    columns = (parsed.contents, masked, parsed.alerts, parsed.session_ids, parsed.times)
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    for number, (content, text, alert, sessions, time) in zip(
        parsed.line_numbers.to_pylist(), rows, strict=True
    ):
        # Python reads the other formats of times more generously.
        known = time if dataset.line.time_format == EPOCH else None
        assert text == mask_as_the_reference(content), (dataset.title, lines[number])
        found[number] = (content, text, alert, tuple(sessions), known)
    assert found.keys() == set(range(len(lines)))
    for number, line in enumerate(lines):
        # In a pattern a vertical tab is white space for Python alone.
        if dataset.line.pattern is None or "\x0b" not in line:
            told = (dataset.line.wanted, line, found[number], wanted[number])
            assert found[number] == wanted[number], told
