"""The worker, in float32 on every processor: bfloat16 rounds more than processes may differ by."""

import torch

from logllm_core.training import trained, work, worker

if __name__ == "__main__":
    for module in (trained, work):
        module.fastest_dtype = lambda device: torch.float32  # type: ignore[attr-defined]
    worker.main()
