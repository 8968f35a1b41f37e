"""What is asked of a device: which one, its fastest numbers, its memory. All that knows CUDA."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

# The kernel's own counts of this process; writing 5 to the first begins the peak anew.
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True, slots=True)
class PeakMemory:
    """The most memory that was in use, in bytes."""

    process: int
    gpu: int  # 0 without one


def devices_of(num_processes: int) -> list[torch.device]:
    """Those that so many processes use, one each; a CPU is shared."""
    if not torch.cuda.is_available():
        return [torch.device("cpu")]
    return [torch.device("cuda", number) for number in range(num_processes)]


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def begin_peak_memory(device: torch.device) -> None:
    """What was used before does not count from here on."""
    with contextlib.suppress(OSError):  # not every system lets a process do it
        CLEAR_REFS.write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> PeakMemory:
    """Since `begin_peak_memory`."""
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return PeakMemory(process=kibibytes * 1024, gpu=gpu)


def is_out_of_memory(fault: RuntimeError) -> bool:
    """Whether a device had not enough memory for a tensor; a CPU says so in words alone."""
    return isinstance(fault, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(fault)


def release_memory(device: torch.device) -> None:
    """Give back what a failed attempt left reserved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
