import numpy as np
import pytest
import torch

from logllm_core.model import devices

CPU = torch.device("cpu")
MEGABYTE = 1_000_000


def is_peak_resettable() -> bool:
    try:
        devices.CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not is_peak_resettable(), reason="the system keeps a process's peak for good")
def test_the_peak_is_of_what_was_used_since_it_was_begun() -> None:
    peaks = []
    for megabytes in (200, 1, 200):
        devices.begin_peak_memory(CPU)
        used = np.ones(megabytes * MEGABYTE, dtype=np.int8)
        del used
        peaks.append(devices.peak_memory(CPU).ram_bytes)
    assert peaks[0] - peaks[1] > 150 * MEGABYTE
    assert peaks[2] - peaks[1] > 150 * MEGABYTE


def test_the_peak_is_told_where_it_cannot_be_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CLEAR_REFS", devices.STATUS / "no-such-file")
    devices.begin_peak_memory(CPU)
    peak = devices.peak_memory(CPU)
    assert peak.ram_bytes > 50 * MEGABYTE  # torch alone is more
    assert peak.gpu_bytes == 0


def test_a_tensor_that_no_memory_holds_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as fault:
        torch.empty(1 << 46)  # 256 TiB
    assert devices.is_out_of_memory(fault.value)
    assert devices.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))


def test_other_faults_are_not_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as fault:
        torch.ones(2) @ torch.ones(3)
    assert not devices.is_out_of_memory(fault.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_gpu_all_processes_share_the_cpu() -> None:
    assert devices.devices_of(1) == devices.devices_of(3) == [CPU]
    assert devices.fastest_dtype(CPU) in (torch.bfloat16, torch.float32)
    devices.release_memory(CPU)
