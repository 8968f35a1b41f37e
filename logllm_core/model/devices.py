"""What is asked of a device: which one, its fastest numbers, its memory. All that knows CUDA."""

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from logllm_core.errors import LogLLMError
from logllm_core.model import Precision

# The kernel's own counts of this process; writing 5 to the first begins the peak anew.
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True, slots=True)
class PeakMemory:
    """The most memory that was in use by this process."""

    ram_bytes: int
    gpu_bytes: int  # 0 without one


def devices_of(num_processes: int) -> list[torch.device]:
    """Those that so many processes use, one each; a CPU is shared."""
    if not torch.cuda.is_available():
        return [torch.device("cpu")]
    return [torch.device("cuda", number) for number in range(num_processes)]


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """What a recipe's precision is on this device."""
    if precision == "auto":
        return fastest_dtype(device)
    return torch.float32 if precision == "float32" else torch.bfloat16


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    if device.type == "cuda":
        # float16 would need its losses scaled.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else torch.float32
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def num_cards() -> int:
    return torch.cuda.device_count()


def card_uuid(card: torch.device) -> str:
    """Names a card for all processes, whatever CUDA_VISIBLE_DEVICES makes of its number."""
    return str(torch.cuda.get_device_properties(card).uuid)


def begin_peak_memory(device: torch.device) -> None:
    """What was used before does not count from here on."""
    with contextlib.suppress(OSError):  # not every system lets a process do it
        CLEAR_REFS.write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> PeakMemory:
    """Since `begin_peak_memory`."""
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    peaks = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    kibibytes = next(peaks, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return PeakMemory(ram_bytes=kibibytes * 1024, gpu_bytes=gpu)


def is_out_of_memory(fault: RuntimeError) -> bool:
    """Whether a device had not enough memory; some places say so in words alone."""
    words = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return isinstance(fault, torch.OutOfMemoryError) or any(text in str(fault) for text in words)


@contextlib.contextmanager
def explained_shortage() -> Iterator[None]:
    """Turn too little memory into one clear error.

    Raises:
        LogLLMError: what was found, and the settings to lower.
    """
    try:
        yield
    except RuntimeError as fault:
        if not is_out_of_memory(fault):
            raise
        raise LogLLMError(
            f"Not enough memory: {str(fault).partition(chr(10))[0]} Use --quantization nf4, choose "
            "smaller --backbones, or lower max_window_messages or max_message_tokens with --set."
        ) from fault


def release_memory(device: torch.device) -> None:
    """Give back what a failed attempt left reserved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def never_repack(model: torch.nn.Module) -> None:
    """On CPUs a 4-bit layer that runs in evaluation mode is repacked, for good, into a form that
    has no backward pass. In training mode it is not, and it has no dropout of its own.
    """
    for module in model.modules():  # known by what it holds: its class takes seconds to import
        if hasattr(module, "quant_state"):
            module.training = True
