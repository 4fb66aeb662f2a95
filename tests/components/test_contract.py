from __future__ import annotations

import pytest

from components.contract import Resources


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({"precision": "bf16"}, "set precision=fp32"),
        ({"precision": "fp16"}, "set precision=fp32"),
        ({"backend": "nccl"}, "set backend=auto"),
        ({"device": "cuda", "backend": "gloo", "parallel": "zero1"}, "set backend=auto"),
    ],
)
def test_resources_that_do_not_fit_the_device_are_refused(values: dict[str, str], fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        Resources.model_validate(values)


def test_a_gpu_takes_each_precision_and_either_backend() -> None:
    for precision in ("fp32", "bf16", "fp16"):
        for backend in ("auto", "nccl", "gloo"):
            Resources.model_validate({"device": "cuda", "precision": precision, "backend": backend})
