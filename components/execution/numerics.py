"""What the bits of a result depend on besides its key, and how a process is put into a known
state.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

from components.contract import Resources


def threads_of(resources: Resources) -> int:
    """Return the threads one rank computes with."""
    return resources.threads or max(1, (os.cpu_count() or 1) // resources.processes)


def reset_global_state(seed: int, resources: Resources) -> None:
    """Seed every global generator and reset what an earlier step of the same process may have
    changed.
    """
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy

        numpy.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.set_deterministic_debug_mode("warn")  # as the training loop, which says why
        torch.set_num_threads(threads_of(resources))


def numerics(resources: Resources) -> dict[str, Any]:
    """Record what equal bits are promised within."""
    record: dict[str, Any] = {
        "device": resources.device,
        "precision": resources.precision,
        "threads": threads_of(resources),
        "world_size": resources.nodes * resources.processes,
        "parallel": resources.parallel,
        "micro_batch": resources.micro_batch,
    }
    if "deepspeed" in sys.modules:
        record["deepspeed"] = sys.modules["deepspeed"].__version__
    if "torch" in sys.modules:
        import torch

        record["torch"] = torch.__version__
        record["cpu"] = torch.backends.cpu.get_cpu_capability()
    return record
