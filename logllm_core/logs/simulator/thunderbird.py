"""A log in the shape of Thunderbird's, which is also that of Liberty and Spirit.

Syslog of a cluster: ten lines a second, hardly an alert. Of ten million contents about 14 % are
distinct: process numbers, mail ids and addresses.
"""

from datetime import datetime

from logllm_core.logs.simulator import clock
from logllm_core.logs.simulator.machine import Head, Machine, Slots
from logllm_core.logs.simulator.pieces import Ints, Pieces, Sheet
from logllm_core.logs.simulator.traffic import NORMAL, Episode, Line, Ordinary


def _node(text: str) -> Line:
    return Line(NORMAL, "node", text)


def _admin(text: str) -> Line:
    return Line(NORMAL, "admin", text)


def _alert(tag: str, text: str) -> tuple[Line]:
    return (Line(tag, "node", text),)


# The slots are in `_slots`: {d} {n} small and large numbers, {q} a process, {x} any word, {i} an
# address of the net, {m} one of a card, {t} a mail's id; words by their names.
ORDINARY = (
    Ordinary(30, "node", "ntpd[{q}]: synchronized to {peer}, stratum {s}"),
    Ordinary(66, "admin", "ganglia/gmetad[{s}]: data source [cluster {rack}] gives no answer"),
    Ordinary(6, "admin", "gmetad[{s}]: round-robin file of {host}: update at {e} is not later"),
    Ordinary(24, "fabric", "sm.x[{s}]: [sweep.c:{n}]: topology is unchanged"),
    Ordinary(
        20,
        "fabric",
        "sm.x[{s}]: [sweep.c:{n}]: no configuration change required",
        later="sm.x[{s}]: sweep {n} found no change of configuration",
    ),
    Ordinary(9, "node", "sshd[{s}]: connection from {i}"),
    Ordinary(9, "node", "sshd[{q}]: session of {user} ended by its client"),
    Ordinary(
        8,
        "node",
        "pbs_mom: scratch directory of job {n} removed, {s} files",
        later="pbs_mom[{q}]: job {n}: removed {s} files of its scratch directory",
    ),
    Ordinary(4, "admin", "postfix/qmgr[{s}]: {t}: from {user}, size={n}, queue active"),
    Ordinary(4, "admin", "postfix/smtp[{s}]: {t}: to root, delay={d}, status deferred"),
    Ordinary(5, "admin", "dhcpd: DISCOVER from {m} via eth{s}: network has no free leases"),
    Ordinary(5, "node", "kernel: eth{s}: link is up at {n} Mbps, full duplex"),
    Ordinary(3, "node", "kernel: martian source {i} from {i}, on dev eth{s}"),
    Ordinary(3, "node", "snmpd[{s}]: received a packet from {i}"),
    Ordinary(2, "node", "smartd[{q}]: disk sd{s}, temperature changed {d} Celsius to {d}"),
    Ordinary(4, "node", "automount[{s}]: expired the mount of {user}"),
    Ordinary(2, "node", "rpc.statd[{q}]: monitor of {host} recovered in {d} s"),
    # Words make many masked messages of these, as start-ups do in the real log.
    Ordinary(3, "node", "init: service {daemon} {change}"),
    Ordinary(1.5, "node", "xinetd[{s}]: {service} {change}"),
    Ordinary(1.5, "node", "kernel: {device} driver registered at {x}"),
    Ordinary(1, "node", "kernel: {device}: IRQ {d} routed to CPU {s}"),
    Ordinary(8, "node", "irqbalance[{s}]: moved IRQ {d} away from CPU {s}", is_new=True),
    Ordinary(5, "admin", "puppet[{s}]: catalog of {host} applied in {d} s", is_new=True),
)
EPISODES = (
    # Everyday episodes.
    Episode(
        weight=500,
        lines=(
            _node("crond(pam_unix)[{q}]: session opened for user {user} by (uid=0)"),
            _node("crond[{q}]: ({user}) CMD (run-parts /etc/cron.hourly)"),
            _node("crond(pam_unix)[{q}]: session closed for user {user}"),
        ),
        repeats=(1, 6),
        gap=1,
    ),
    Episode(
        weight=120,
        lines=(
            _admin("dhcpd: DHCPDISCOVER from {m} via eth{s}"),
            _admin("dhcpd: DHCPOFFER on {i} to {m} via eth{s}"),
            _admin("dhcpd: DHCPREQUEST for {i} from {m} via eth{s}"),
            _admin("dhcpd: DHCPACK on {i} to {m} via eth{s}"),
        ),
        gap=1,
    ),
    Episode(
        weight=40,
        lines=(_node("kernel: nfs: server {host} is slow"), _node("kernel: nfs: server {host} ok")),
        gap=1,
    ),
    # Alerts in bursts.
    Episode(
        weight=1.0,
        lines=_alert("ECC", "Server Administrator: memory device status is critical, bank {d}"),
        repeats=(1, 5),
        gap=1,
    ),
    Episode(
        weight=0.8,
        lines=_alert("VAPI", "kernel: [KERNEL_IB] (vapi.c:{n}) local catastrophic error {x}"),
        repeats=(2, 12),
    ),
    Episode(
        weight=0.5,
        lines=_alert("R_VAPI", "mpi: [{host}] send completed with error {d}, vendor code {d}"),
        repeats=(2, 8),
        gap=1,
    ),
    # Alerts as single lines among ordinary ones.
    Episode(
        weight=1.2,
        lines=_alert("CPU", "kernel: losing ticks, falling back to the other clock, CPU {s}"),
    ),
    Episode(
        weight=0.8, lines=_alert("EXT_FS", "kernel: journal of sd{s} aborted, remounting read-only")
    ),
    Episode(
        weight=0.8,
        lines=_alert("PBS_CON", "pbs_mom: cannot reach the server, connection refused by {i}"),
    ),
    # A file server that never answers again: the order is the alert.
    Episode(
        weight=1.0,
        lines=(
            _node("kernel: nfs: server {host} ok"),
            *_alert("NFS", "kernel: nfs: server {host} is slow"),
        ),
        gap=1,
    ),
    # After the split: failures never seen before.
    Episode(
        weight=1.0,
        lines=_alert("MPT", "kernel: mptscsih: task abort of sd{s}, {n} commands lost"),
        repeats=(1, 4),
        is_new=True,
    ),
    Episode(
        weight=1.0,
        lines=_alert("SCSI", "kernel: SCSI error on sd{s}, sector {n}, sense key {d}"),
        is_new=True,
    ),
)

_USERS = (
    *("root", "mail", "news", "nobody", "postgres", "apache", "abell", "bcook", "cdavis"),
    *("dfoster", "egray", "fhill", "gjones", "hking", "ilee", "jmoore", "kowen", "lprice"),
)
_DAEMONS = (
    *("acpid", "atd", "autofs", "bluetooth", "cpuspeed", "crond", "cups", "gpm", "haldaemon"),
    *("iptables", "irqbalance", "kudzu", "lvm", "mdmonitor", "messagebus", "netfs", "nfslock"),
    *("nscd", "ntpd", "pcscd", "portmap", "rpcidmapd", "sendmail", "smartd", "snmpd", "sshd"),
    *("syslog-ng", "xfs", "xinetd", "ypbind"),
)
_CHANGES = (
    *("startup succeeded", "shutdown succeeded", "reload succeeded", "startup failed"),
    *("is not installed", "takes new settings"),
)
_SERVICES = (
    *("chargen", "daytime", "discard", "echo", "eklogin", "finger", "ftp", "gssftp", "imap"),
    *("klogin", "kshell", "ntalk", "printer", "rexec", "rlogin", "rsh", "rsync", "telnet", "tftp"),
)
_DEVICES = (
    *("audio", "cdrom", "ehci_hcd", "floppy", "ide-disk", "keyboard", "loop", "megaraid", "mouse"),
    *(
        "ohci_hcd",
        "parport",
        "ramdisk",
        "serial",
        "tape",
        "uhci_hcd",
        "usbhid",
        "vesafb",
        "watchdog",
    ),
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
        "user": (_USERS,),
        "daemon": (_DAEMONS,),
        "change": (_CHANGES,),
        "service": (_SERVICES,),
        "device": (_DEVICES,),
    }


def _head(pieces: Pieces) -> Head:
    """`- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228`"""
    digits = clock.thousand(pieces)
    time_of_day = clock.seconds_of_day(pieces, ":", " ")
    names = {
        "node": [f"{rack}n{number}" for rack in "abcd" for number in range(1, 1_025)],
        "admin": [f"{rack}admin{number}" for rack in "abcde" for number in (1, 2)],
        "fabric": ["tbird-sm1", "tbird-sm2"],
    }
    hosts = {source: pieces.add(some) for source, some in names.items()}
    all_names = [name for some in names.values() for name in some]
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
