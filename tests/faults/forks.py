"""Processes that are forked from one in which torch is imported already.

Importing torch takes 5 to 9 s, and a row kills its process hundreds of times.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

WARM = [
    "pytest",
    "safetensors.torch",
    "torch._dynamo",  # a model that is built on a named device imports it: 2 s
    "components.pretraining.stage",
    "components.execution.execute",
    "flows.run",
    "flows.produce",
    "tests.components.training.sample_inputs",
]
CONTEXT = multiprocessing.get_context("forkserver")


def fork(target: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Call a function of a module in a process of its own; its exit code is what it returns.

    The process has the environment of the first call of all, and dies with this one.
    """
    CONTEXT.set_forkserver_preload(WARM)
    process = CONTEXT.Process(target=_call, args=(target, arguments), daemon=True)
    process.start()
    return process


def _call(target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    code = target(*arguments)
    os._exit(int(code or 0))
