"""What a cluster like Thunderbird logs, and when: everyday lines, episodes, and words for them."""

from logllm_core.logs.simulator.traffic import NORMAL, Episode, Line, Ordinary


def _node(text: str) -> Line:
    return Line(NORMAL, "node", text)


def _admin(text: str) -> Line:
    return Line(NORMAL, "admin", text)


def _alert(tag: str, text: str) -> tuple[Line]:
    return (Line(tag, "node", text),)


# The slots are in `thunderbird`: {d} {n} small and large numbers, {q} a process, {x} any word, {i}
# an address of the net, {m} one of a card, {t} a mail's id; words by their names.
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

USERS = (
    *("root", "mail", "news", "nobody", "postgres", "apache", "abell", "bcook", "cdavis"),
    *("dfoster", "egray", "fhill", "gjones", "hking", "ilee", "jmoore", "kowen", "lprice"),
)
DAEMONS = (
    *("acpid", "atd", "autofs", "bluetooth", "cpuspeed", "crond", "cups", "gpm", "haldaemon"),
    *("iptables", "irqbalance", "kudzu", "lvm", "mdmonitor", "messagebus", "netfs", "nfslock"),
    *("nscd", "ntpd", "pcscd", "portmap", "rpcidmapd", "sendmail", "smartd", "snmpd", "sshd"),
    *("syslog-ng", "xfs", "xinetd", "ypbind"),
)
CHANGES = (
    *("startup succeeded", "shutdown succeeded", "reload succeeded", "startup failed"),
    *("is not installed", "takes new settings"),
)
SERVICES = (
    *("chargen", "daytime", "discard", "echo", "eklogin", "finger", "ftp", "gssftp", "imap"),
    *("klogin", "kshell", "ntalk", "printer", "rexec", "rlogin", "rsh", "rsync", "telnet", "tftp"),
)
DEVICES = (
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
