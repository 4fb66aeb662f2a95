"""One step of each engine and precision; `test_loop` and `test_zero` train with them on CPUs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ONE_STEP = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
from components.contract import Resources
from components.execution.ranks import end_rank
from components.training.engine import Course, DataParallel, Signals
from components.training.loss import next_token_loss
from components.training.optimizer import OptimizerSettings
from components.training.parallel import backend_of
from components.training.zero import Zero
from tests.components.training.sample_inputs import make_context
from tests.components.training.test_loop import made, ramps, weights

device, home = sys.argv[1], Path(sys.argv[2])
found = {}
for parallel in ("data", "zero1", "zero2"):
    for precision in ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32",):
        resources = Resources(device=device, precision=precision, parallel=parallel, micro_batch=3)
        context = make_context(home / parallel / precision, resources=resources)
        if not dist.is_initialized():
            dist.init_process_group(backend_of(resources), rank=0, world_size=1)
        model = made().model.to(device)
        settings = OptimizerSettings(0.01, None if parallel != "data" else 0.02)
        course = Course(model, next_token_loss, settings, 1.0)
        engine = (DataParallel if parallel == "data" else Zero)(course, context)
        before = weights(made())
        scale = 1024.0 if precision == "fp16" else None
        step = engine.gradient(ramps(0, range(8)).to(device), Signals(False, True), scale)
        engine.update(1.0)
        kinds = {str(parameter.dtype) for parameter in model.parameters()}
        moved = float((weights(made(model=model)).cpu() - before).abs().max())
        found[f"{parallel} {precision}"] = [step.loss, step.norm, step.save, moved, *kinds]
print(json.dumps(found))
end_rank(0)
"""


def one_step_of_each(device: str, home: Path) -> dict[str, list[object]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    argv = [sys.executable, "-c", ONE_STEP, device, str(home)]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def holds(found: dict[str, list[object]]) -> None:
    first = found["data fp32"]
    for loss, norm, save, moved, *kinds in found.values():
        assert [loss, norm] == pytest.approx(first[:2], rel=0.05)
        assert isinstance(moved, float)
        assert 0.001 < moved < 0.1
        assert save is True
        assert kinds == ["torch.float32"]


@pytest.mark.slow
def test_one_step_of_each_on_a_cpu(tmp_path: Path) -> None:
    found = one_step_of_each("cpu", tmp_path)
    assert len(found) == 3
    holds(found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_one_step_of_each_on_a_gpu(tmp_path: Path) -> None:
    found = one_step_of_each("cuda", tmp_path)
    assert len(found) == 9
    holds(found)
