"""A log in the shape of BlueGene/L's, as the demo uses it.

Lines without content (0.73 %, as in BGL), bytes that are not UTF-8. Of 4.7 million contents about
8 % are distinct, as in BGL.
"""

from datetime import datetime

from logllm_core.logs.simulator import clock
from logllm_core.logs.simulator.bgl_tables import EPISODES, FLAGS, ORDINARY, TROUBLES, UNITS
from logllm_core.logs.simulator.line_fragments import Ints, Sheet, TextPieces
from logllm_core.logs.simulator.simulated_machine import Head, Machine, Slots


def _slots() -> Slots:
    digits = [f"{number:03x}" for number in range(1 << 12)]
    return {
        "d": ((str(number) for number in range(1, 32)),),
        "n": ((str(number) for number in range(32, 8_000)),),
        "c": ((str(number) for number in range(32, 400)),),
        "x": ((f"0x{number:02x}" for number in range(1 << 8)), digits, digits),
        "a": ((f"0x{number * 2_654_435_761 % (1 << 32):08x}" for number in range(1, 65)),),
        "h": ((f"0x{number:04x}" for number in range(8, 16)),),
        "l": (_LOCATIONS,),
        "i": (
            (f"172.16.{high}.{low}" for high in range(96, 112) for low in range(16)),
            (f":{port}" for port in range(32_768, 32_818)),
        ),
        "p": (
            (f"/p/gb{disk}/user{user}" for disk in (1, 2) for user in range(40)),
            (f"/run{run}/a.out" for run in range(12)),
        ),
        "unit": (UNITS,),
        "trouble": (TROUBLES,),
        "flag": (FLAGS,),
    }


_LOCATIONS = tuple(f"R{r:02d}-M{m}-N{n:X}" for r in range(64) for m in range(2) for n in range(16))


def _head(pieces: TextPieces) -> Head:
    """`- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-22.42.50.363779`, the node again."""
    digits = clock.thousand(pieces)
    last_digits = pieces.add(f"{number:03d} " for number in range(1_000))
    time_of_day = clock.seconds_of_day(pieces, ".", ".")
    nodes = pieces.add(
        f"{location}-C:J{card:02d}-U{unit}"
        for location in _LOCATIONS
        for card in range(18)
        for unit in ("01", "11")
    )

    def fill(sheet: Sheet, times_L: Ints, hosts_L: Ints) -> None:
        seconds_L, micros_L = divmod(times_L, clock.SECOND)
        clock.fill_epoch(sheet, 1, seconds_L, digits)
        clock.fill_day(sheet, 3, seconds_L, _date)
        sheet.fill(4, hosts_L)
        clock.fill_day(sheet, 5, seconds_L, _dashed_date)
        sheet.fill(6, time_of_day.first + seconds_L % clock.DAY_SECONDS)
        sheet.fill(7, digits.first + micros_L // 1_000)
        sheet.fill(8, last_digits.first + micros_L % 1_000)
        sheet.fill(9, hosts_L)

    return Head(num_pieces=9, hosts=dict.fromkeys(_SOURCES, nodes), fill=fill)


def _date(day: datetime) -> str:
    return f" {day:%Y.%m.%d} "


def _dashed_date(day: datetime) -> str:
    return f" {day:%Y-%m-%d}-"


_SOURCES = {row.source for row in ORDINARY} | {
    line.source for episode in EPISODES for line in episode.lines
}
MACHINE = Machine(
    ordinary=ORDINARY,
    episodes=EPISODES,
    episodes_per_line=0.02,
    start_seconds=1_117_838_570,
    mean_gap_seconds=2.0,
    no_content_fraction=0.0073,
    odd_bytes_fraction=0.0005,
    slots=_slots,
    head=_head,
    prefix=lambda source: f" RAS {source}",
)
