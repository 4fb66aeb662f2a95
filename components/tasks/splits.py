"""Which split a source belongs to: a function of the source alone.

The seed stays out of the hash on purpose. Two task sets with different seeds then agree about what
is test material, so no run can train on what another is tested on.
"""

from __future__ import annotations

import hashlib
import random

SHARES = (("midtrain", 0.55), ("sft", 0.10), ("rl", 0.15), ("dev", 0.08), ("test", 0.12))
"""Share of the sources in each split; ours. A thousand keys leave 120 for the test and 550 to learn
from.
"""

SPLITS = tuple(name for name, _ in SHARES)


def fraction(text: str) -> float:
    """Map a text to a number in [0, 1) by its sha256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(source: str) -> str:
    """Return the split of a source such as `key:823`, `operands:823,46`, `name:dog` or
    `document:…`.
    """
    place = fraction(source)
    for name, share in SHARES:
        place -= share
        if place < 0:
            return name
    return SHARES[-1][0]


def draws(seed: int, *names: str) -> random.Random:
    """Return a generator of its own for one purpose, so that purposes do not disturb each other."""
    digest = hashlib.sha256(":".join((str(seed), *names)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def keys_by_split(digits: int) -> dict[str, list[str]]:
    """Return all keys of `digits` digits by split, in numeric order."""
    keys: dict[str, list[str]] = {name: [] for name in SPLITS}
    for number in range(10**digits):
        key = f"{number:0{digits}d}"
        keys[split_of(f"key:{key}")].append(key)
    return keys
