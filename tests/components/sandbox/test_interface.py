"""Only tiers that exist can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Tier, open_sandbox


@pytest.mark.parametrize("tier", ["landlock", "pods"])
def test_a_tier_without_code_is_missing(tier: Tier, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="apt-get install bubblewrap") as caught:
        open_sandbox(tier, tmp_path)
    assert caught.value.exit_code == 3
