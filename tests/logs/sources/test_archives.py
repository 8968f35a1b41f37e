import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFile

from logllm_core.daily.detect.log_identity import head_of
from logllm_core.errors import LogLLMError
from logllm_core.logs.sources import files
from logllm_core.logs.sources.archives import endings, open_stream

LOG = b"- 1117838570 link is up\nKERN 1117838571 link is down\n"


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    return tarred_entries([(tarfile.TarInfo(name), text) for name, text in members.items()], mode)


def tarred_entries(entries: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zstd(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return bytes(packed.getvalue())


def noise(num_bytes: int) -> bytes:
    """Content that does not compress, so that half of an archive is half of its content."""
    return hashlib.shake_256(b"noise").digest(num_bytes)


def halved(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def with_a_wrong_byte(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


def read(location: str | Path, member: str | None = None) -> bytes:
    with open_stream(str(location), member) as stream:
        return stream.read()


@pytest.fixture
def memory() -> Iterator[str]:
    """The address of a folder in fsspec's memory."""
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    fs = fsspec.filesystem("memory")
    if fs.exists(folder):
        fs.rm(folder, recursive=True)


PACKED = {
    "own.log": (LOG, None),
    "own": (LOG, None),
    "own.log.gz": (gzip.compress(LOG, mtime=0), None),
    "OWN.LOG.GZ": (gzip.compress(LOG, mtime=0), None),
    "own.log.zst": (zstd(LOG), None),
    "own.log.bz2": (bz2.compress(LOG), None),
    "own.log.xz": (lzma.compress(LOG), None),
    "own.zip": (zipped({"other.log": b"no", "logs/own.log": LOG}), "logs/own.log"),
    "own.tar": (tarred({"other.log": b"no", "logs/own.log": LOG}, "w"), "logs/own.log"),
    "own.tar.gz": (tarred({"other.log": b"no", "logs/own.log": LOG}), "logs/own.log"),
    "own.tgz": (tarred({"./logs/own.log": LOG}), "logs/own.log"),
    "own.tar.bz2": (tarred({"logs/own.log": LOG}, "w:bz2"), "logs/own.log"),
    "own.tar.xz": (tarred({"logs/own.log": LOG}, "w:xz"), "logs/own.log"),
    "own.tar.zst": (zstd(tarred({"logs/own.log": LOG}, "w")), "logs/own.log"),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_log_is_read_however_it_is_packed(tmp_path: Path, name: str) -> None:
    packed, member = PACKED[name]
    (tmp_path / name).write_bytes(packed)
    assert read(tmp_path / name, member) == LOG


@pytest.mark.parametrize("name", PACKED)
def test_a_log_is_read_at_an_address_too(memory: str, name: str) -> None:
    packed, member = PACKED[name]
    with fsspec.open(f"{memory}/{name}", "wb") as file:
        file.write(packed)
    assert read(f"{memory}/{name}", member) == LOG


@pytest.mark.parametrize(
    ("name", "packed", "packing"),
    [
        ("own.log", gzip.compress(LOG), ".gz"),
        ("own.log", zstd(LOG), ".zst"),
        ("own.log", bz2.compress(LOG), ".bz2"),
        ("own.log", lzma.compress(LOG), ".xz"),
        ("own.log", zipped({"own.log": LOG}), ".zip"),
        ("own.log", tarred({"own.log": LOG}, "w:"), ".tar"),
        ("own.log.gz", tarred({"own.log": LOG}), ".tar"),
        ("own.log.xz", lzma.compress(gzip.compress(LOG)), ".gz"),
    ],
    ids=range(8),
)
def test_what_is_packed_under_a_wrong_name_is_refused(
    tmp_path: Path, name: str, packed: bytes, packing: str
) -> None:
    (tmp_path / name).write_bytes(packed)
    wanted = rf"own\..* holds is packed itself, as {packing} files are\. Unpack it"
    with pytest.raises(LogLLMError, match=wanted), open_stream(str(tmp_path / name), None):
        pass
    if endings(name)[1] is None:  # a new log that is judged
        with pytest.raises(LogLLMError, match=wanted):
            head_of(str(tmp_path / name))


def test_a_member_of_an_archive_that_is_packed_once_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.zip").write_bytes(zipped({"own.log": tarred({"x": LOG})}))
    with (
        pytest.raises(LogLLMError, match=r"What 'own.log' in .*own.zip holds is packed itself"),
        open_stream(str(tmp_path / "own.zip"), "own.log"),
    ):
        pass


def test_text_that_nearly_begins_like_something_packed_is_read(tmp_path: Path) -> None:
    for text in (b"BZhello\n", b"PK says\n", b"x" * 257 + b"ustar\n" + b"x" * 600, b"\n" * 512):
        (tmp_path / "own.log").write_bytes(text)
        with open_stream(str(tmp_path / "own.log"), None) as stream:
            assert stream.read() == text


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        (
            "own.gz",
            gzip.compress(LOG, mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(LOG, mtime=0),
        ),
        ("own.zst", zstd(LOG) + zstd(LOG)),
        ("own.bz2", bz2.compress(LOG) + bz2.compress(LOG)),
        ("own.xz", lzma.compress(LOG) + lzma.compress(LOG)),
    ],
)
def test_compressed_files_put_one_after_another_are_one(
    tmp_path: Path, name: str, packed: bytes
) -> None:
    (tmp_path / name).write_bytes(packed)
    assert read(tmp_path / name) == LOG + LOG


def test_a_tar_may_be_compressed_in_pieces(tmp_path: Path) -> None:
    """As bgzip and parallel compressors write it."""
    tar = tarred({"own.log": noise(100_000)}, "w")
    pieces = [tar[place : place + 30_000] for place in range(0, len(tar), 30_000)]
    (tmp_path / "own.tar.gz").write_bytes(b"".join(gzip.compress(piece) for piece in pieces))
    assert read(tmp_path / "own.tar.gz", "own.log") == noise(100_000)


def test_lines_can_be_read_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "own.gz").write_bytes(gzip.compress(LOG))
    with open_stream(str(tmp_path / "own.gz"), None) as stream:
        assert list(stream) == LOG.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "packed", "member"),
    [
        ("own.gz", gzip.compress(noise(20_000_000), 1, mtime=0), None),
        ("own.zst", zstd(noise(20_000_000)), None),
        ("own.tar.gz", tarred({"own.log": noise(20_000_000)}), "own.log"),
    ],
)
def test_reading_stops_where_the_caller_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packed: bytes, member: str | None
) -> None:
    opened: list[Any] = []

    def remember(*arguments: Any, **named: Any) -> Any:
        opened.append(open(*arguments, **named))  # noqa: PTH123, SIM115
        return opened[-1]

    (tmp_path / name).write_bytes(packed)
    monkeypatch.setattr(files, "open", remember, raising=False)
    with open_stream(str(tmp_path / name), member) as stream:
        assert stream.read(1000) == noise(1000)
        place = opened[0].tell()
    assert place < 3_000_000  # of 20 million: what the buffers hold
    assert opened[0].closed


def test_damage_beyond_the_lines_that_are_wanted_does_no_harm(tmp_path: Path) -> None:
    packed = halved(tarred({"own.log": noise(8_000_000)}))
    (tmp_path / "own.tar.gz").write_bytes(packed)
    with open_stream(str(tmp_path / "own.tar.gz"), "own.log") as stream:
        assert stream.read(1000) == noise(1000)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("own.zip", halved(zipped({"own.log": noise(100_000)}))),
        ("own.zip", with_a_wrong_byte(zipped({"own.log": noise(100_000)}))),
        ("own.zip", b""),
        ("own.zip", b"<html>Not found</html>"),
        ("own.tar.gz", halved(tarred({"own.log": noise(100_000)}))),
        ("own.tar.gz", halved(tarred({"other.log": noise(100_000), "own.log": LOG}))),
        ("own.tar.gz", b""),
        ("own.tar.gz", b"<html>Not found</html>"),
        ("own.tar.gz", gzip.compress(b"<html>Not found</html>", mtime=0)),
        ("own.tar", halved(tarred({"own.log": noise(100_000)}, "w"))),
        ("own.tar", halved(tarred({"other.log": noise(100_000), "own.log": LOG}, "w"))),
        ("own.gz", halved(gzip.compress(noise(100_000), mtime=0))),
        ("own.gz", gzip.compress(LOG, mtime=0)[:-8]),
        ("own.gz", with_a_wrong_byte(gzip.compress(noise(100_000), mtime=0))),
        ("own.gz", b"<html>Not found</html>"),
        ("own.zst", halved(zstd(noise(100_000)))),
        ("own.zst", zstd(LOG)[:-2]),
        ("own.zst", b"<html>Not found</html>"),
        ("own.bz2", halved(bz2.compress(noise(100_000)))),
        ("own.xz", halved(lzma.compress(noise(100_000)))),
        ("own.xz", with_a_wrong_byte(lzma.compress(noise(100_000)))),
    ],
)
def test_a_damaged_archive_is_a_clear_error(tmp_path: Path, name: str, packed: bytes) -> None:
    (tmp_path / name).write_bytes(packed)
    member = "own.log" if name.endswith((".zip", ".tar", ".tar.gz")) else None
    with pytest.raises(LogLLMError, match=rf"{name} is damaged or cut off: .+\. Fetch or copy"):
        read(tmp_path / name, member)


def test_an_archive_with_a_password_is_a_clear_error(tmp_path: Path) -> None:
    packed = bytearray(zipped({"own.log": LOG}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(header) + flags] |= 1  # "is encrypted"
    (tmp_path / "own.zip").write_bytes(packed)
    with pytest.raises(LogLLMError, match=r"own\.zip cannot be read: .*encrypted"):
        read(tmp_path / "own.zip", "own.log")


def test_a_fault_of_the_reader_is_not_laid_on_the_archive(tmp_path: Path) -> None:
    (tmp_path / "own.gz").write_bytes(gzip.compress(LOG))
    fault = OSError("the reader's disk is full")
    with (
        pytest.raises(OSError, match="the reader's disk") as caught,
        open_stream(str(tmp_path / "own.gz"), None),
    ):
        raise fault
    assert caught.value is fault


def test_a_network_that_fails_is_not_laid_on_the_archive(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fsspec.open(f"{memory}/own.gz", "wb") as file:
        file.write(gzip.compress(LOG))

    def fail(*_: Any) -> int:
        raise RuntimeError("Session is closed")

    monkeypatch.setattr(MemoryFile, "readinto", fail)
    with pytest.raises(LogLLMError, match=r"own\.gz cannot be reached: Session is closed"):
        read(f"{memory}/own.gz")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_without_the_member_tells_what_it_holds(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    name = "own.zip" if pack is zipped else "own.tar.gz"
    (tmp_path / name).write_bytes(pack({"a.log": LOG, "b.log": LOG}))
    with pytest.raises(LogLLMError, match=rf"{name} holds no 'own.log'; it holds 'a.log', 'b.log'"):
        read(tmp_path / name, "own.log")

    (tmp_path / name).write_bytes(pack({f"{number}.log": LOG for number in range(10)}))
    with pytest.raises(LogLLMError, match=r"it holds '0.log', .*, '4.log', \.\.\.\. Is it"):
        read(tmp_path / name, "own.log")

    (tmp_path / name).write_bytes(pack({}))
    with pytest.raises(LogLLMError, match="it holds nothing"):
        read(tmp_path / name, "own.log")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_hostile_names_are_shown_harmless(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    name = "own.zip" if pack is zipped else "own.tar.gz"
    (tmp_path / name).write_bytes(pack({"\x1b[2J\nerased": LOG, "x" * 5000: LOG}))
    with pytest.raises(LogLLMError) as caught:
        read(tmp_path / name, "own.log")
    assert r"'\x1b[2J\nerased'" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_archive_needs_a_member_and_other_files_have_none(tmp_path: Path) -> None:
    (tmp_path / "own.zip").write_bytes(zipped({"own.log": LOG}))
    (tmp_path / "own.gz").write_bytes(gzip.compress(LOG))
    with pytest.raises(LogLLMError, match=r"own.zip is an archive, and no member is named"):
        read(tmp_path / "own.zip")
    with pytest.raises(LogLLMError, match=r"own.gz is no archive .* so it holds no 'own.log'"):
        read(tmp_path / "own.gz", "own.log")


def linked(kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("own.log")
    entry.type = kind
    entry.linkname = "/etc/passwd"
    return entry


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (linked(tarfile.SYMTYPE), "a link"),
        (linked(tarfile.LNKTYPE), "a link"),
        (linked(tarfile.DIRTYPE), "a folder"),
        (linked(tarfile.FIFOTYPE), "a device"),
    ],
)
def test_what_is_no_file_in_a_tar_is_refused(
    tmp_path: Path, entry: tarfile.TarInfo, kind: str
) -> None:
    (tmp_path / "own.tar.gz").write_bytes(tarred_entries([(entry, b"")]))
    with pytest.raises(LogLLMError, match=rf"'own.log' in .*own.tar.gz is {kind}, not a file"):
        read(tmp_path / "own.tar.gz", "own.log")


def test_what_is_no_file_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("own.log")
    link.create_system = 3  # Unix
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("logs/", b"")
    with pytest.raises(LogLLMError, match=r"'own.log' in .*own.zip is a link, not a file"):
        read(tmp_path / "own.zip", "own.log")
    with pytest.raises(LogLLMError, match=r"'logs/' in .*own.zip is a folder, not a file"):
        read(tmp_path / "own.zip", "logs/")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_no_name_in_an_archive_leads_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    name = "own.zip" if pack is zipped else "own.tar.gz"
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    absolute = str(tmp_path / "evil-absolute")
    members = {"../evil": b"evil", absolute: b"evil", "own.log": LOG}
    (inner / name).write_bytes(pack(members))
    assert read(inner / name, "own.log") == LOG
    for member in ("../evil", absolute):
        assert read(inner / name, member) == b"evil"  # read, not written
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [inner / name]


def test_a_tar_that_claims_too_much_does_not_fill_the_memory(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type = tarfile.GNUTYPE_LONGNAME
    entry.size = 1 << 40  # "the next name has a terabyte"
    (tmp_path / "own.tar").write_bytes(entry.tobuf(format=tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(LogLLMError, match=r"damaged .* claims 1,099,511,627,776 bytes"):
        read(tmp_path / "own.tar", "own.log")


def test_a_tar_that_leads_back_is_damaged(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("a.log")
    entry.size = -(1 << 20)
    (tmp_path / "own.tar").write_bytes(entry.tobuf(format=tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(LogLLMError, match="is damaged or cut off"):
        read(tmp_path / "own.tar", "own.log")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, memory: str) -> None:
    for location in (str(tmp_path / "own.gz"), f"{memory}/own.gz"):
        with pytest.raises(LogLLMError, match=rf"There is no file {location}"):
            read(location)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere://bucket/own.log", "nowhere://bucket/own.log cannot be reached: logs are read"),
        ("reference::memory://own.json", "might run what they find there"),
        ("simplecache::s3://bucket/own.log", "might run what they find there"),
        ("zip://own.log::memory://own.zip", "might run what they find there"),
        ("github://org:repo@main/own.log", "logs are read from abfs, .*, s3, "),
        ("reference://own.json", "logs are read from abfs, .*, s3, "),
        ("gs://bucket/own.log", "gs://bucket/own.log needs a package that is missing: .*gcsfs"),
    ],
)
def test_an_address_that_cannot_be_opened_is_an_error(address: str, message: str) -> None:
    with pytest.raises(LogLLMError, match=message):
        read(address)


def test_the_members_of_the_mirror_are_readable(mirror: Path) -> None:
    members = {
        "BGL.zip": ("BGL.log", b"- "),
        "HDFS_v1.zip": ("HDFS.log", b"08"),
        "Thunderbird.tar.gz": ("Thunderbird.log", b"- "),
    }
    for name, (member, start) in members.items():
        with open_stream(str(mirror / name), member) as stream:
            assert stream.read(2) == start
