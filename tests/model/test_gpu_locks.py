import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.model import gpu_locks

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from logllm_core.model import gpu_locks
with gpu_locks.claim_named("GPU-1", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_card_is_waited_for_until_its_holder_is_gone_even_killed(tmp_path: Path) -> None:
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            endings: list[str] = []

            def end() -> None:
                endings.append("killed")
                holder.kill()

            threading.Timer(1.5, end).start()
            with gpu_locks.claim_named("GPU-2", tmp_path):  # another card is free
                assert lines == []
            with gpu_locks.claim_named("GPU-1", tmp_path):
                assert endings == ["killed"]
        finally:
            holder.kill()
    assert lines == ["Another run uses the card GPU-1; waiting for it"]


def test_another_user_can_claim_the_card_later(tmp_path: Path) -> None:
    with gpu_locks.claim_named("GPU-1", tmp_path):
        pass
    with gpu_locks.claim_named("GPU-1", tmp_path):
        assert (tmp_path / "logllm-card-GPU-1.lock").stat().st_mode & 0o777 == 0o666


def test_what_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    (tmp_path / "logllm-card-GPU-1.lock").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(LogLLMError, match=r"Cannot lock .*logllm-card-GPU-1\.lock.*chmod 666"),
        gpu_locks.claim_named("GPU-1", tmp_path),
    ):
        pass


def test_a_cpu_is_not_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_locks, "LOCKS", tmp_path)
    with gpu_locks.claim(torch.device("cpu")):
        assert list(tmp_path.iterdir()) == []


def test_a_card_that_is_not_there_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    wanted = [torch.device("cuda", index) for index in range(2)]
    with (
        pytest.raises(LogLLMError, match="cuda:1 cannot be used: 1 cards can be seen"),
        gpu_locks.claim(*wanted),
    ):
        pass


def test_several_cards_are_claimed_in_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two runs could each hold one and wait for the other's."""

    class Properties:
        def __init__(self, device: torch.device) -> None:
            self.uuid = "zyx"[device.index]

    claimed: list[str] = []

    @contextmanager
    def note(name: str, folder: Path) -> Iterator[None]:
        claimed.append(name)
        with claim_named(name, folder):
            yield

    claim_named = gpu_locks.claim_named
    monkeypatch.setattr(gpu_locks, "LOCKS", tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(gpu_locks, "claim_named", note)
    with gpu_locks.claim(*(torch.device("cuda", index) for index in (0, 1, 2))):
        assert len(list(tmp_path.iterdir())) == 3
    assert claimed == ["x", "y", "z"]
