"""A log in the shape of Thunderbird's, which is also that of Liberty and Spirit.

Syslog of a cluster: ten lines a second, hardly an alert. Of ten million contents about 14 % are
distinct: process numbers, mail ids and addresses.
"""

from datetime import datetime

from logllm_core.logs.simulator import clock
from logllm_core.logs.simulator.line_fragments import Ints, Sheet, TextPieces
from logllm_core.logs.simulator.simulated_machine import Head, Machine, Slots
from logllm_core.logs.simulator.thunderbird_tables import (
    CHANGES,
    DAEMONS,
    DEVICES,
    EPISODES,
    ORDINARY,
    SERVICES,
    USERS,
)


def _slots() -> Slots:
    digits = [f"{number:03x}" for number in range(1 << 12)]
    racks = "abcde"
    net = (f"10.{high}.{low}.{end}" for high in (1, 2) for low in range(8) for end in range(256))
    cards = (f"00:11:43:e{high:x}:{low:02x}" for high in range(4) for low in range(256))
    return {
        "s": ((str(number) for number in range(4)),),
        "d": ((str(number) for number in range(1, 64)),),
        "n": ((str(number) for number in range(64, 2_048)),),
        "q": ((str(number) for number in range(1_500, 3_500)),),
        "e": (("113156", "113157"), (f"{number:04d}" for number in range(10_000))),
        "x": ((f"0x{number:02x}" for number in range(1 << 8)), digits, digits),
        "t": ((f"{number:02X}" for number in range(1 << 8)), digits, digits),
        "i": (net,),
        "m": (cards, (":ba", ":bc")),
        "peer": ((f"10.0.0.{end}" for end in range(1, 17)),),
        "host": ((f"{rack}n{number}" for rack in racks for number in range(1, 257)),),
        "rack": ((rack.upper() + str(number) for rack in racks for number in range(1, 9)),),
        "user": (USERS,),
        "daemon": (DAEMONS,),
        "change": (CHANGES,),
        "service": (SERVICES,),
        "device": (DEVICES,),
    }


def _head(pieces: TextPieces) -> Head:
    """`- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228`"""
    digits = clock.thousand(pieces)
    time_of_day = clock.seconds_of_day(pieces, ":", " ")
    names = {
        "node": [f"{rack}n{number}" for rack in "abcd" for number in range(1, 1_025)],
        "admin": [f"{rack}admin{number}" for rack in "abcde" for number in (1, 2)],
        "fabric": ["tbird-sm1", "tbird-sm2"],
    }
    hosts = {source: pieces.add(texts) for source, texts in names.items()}
    all_names = [name for texts in names.values() for name in texts]
    addresses = pieces.add(f"{name}/{name}" for name in all_names)
    to_address = addresses.first - hosts["node"].first

    def fill(sheet: Sheet, times_L: Ints, hosts_L: Ints) -> None:
        seconds_L = times_L // clock.SECOND
        clock.fill_epoch(sheet, 1, seconds_L, digits)
        clock.fill_day(sheet, 3, seconds_L, _date)
        sheet.fill(4, hosts_L)
        clock.fill_day(sheet, 5, seconds_L, _month_and_day)
        sheet.fill(6, time_of_day.first + seconds_L % clock.DAY_SECONDS)
        sheet.fill(7, hosts_L + to_address)

    return Head(num_pieces=7, hosts=hosts, fill=fill)


def _date(day: datetime) -> str:
    return f" {day:%Y.%m.%d} "


def _month_and_day(day: datetime) -> str:
    return f" {clock.MONTHS[day.month - 1]} {day.day} "


MACHINE = Machine(
    ordinary=ORDINARY,
    episodes=EPISODES,
    episodes_per_line=0.03,
    start_seconds=1_131_566_461,
    mean_gap_seconds=0.1,
    no_content_fraction=0.00004,
    odd_bytes_fraction=0.00001,
    slots=_slots,
    head=_head,
    prefix=lambda source: "",
)
