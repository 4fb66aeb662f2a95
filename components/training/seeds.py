"""Seeds derived from a seed, so that no two uses share a stream of random numbers."""

from __future__ import annotations

import hashlib


def derived_seed(seed: int, *uses: str | int) -> int:
    """Return a seed below 2**63 that depends on `seed` and on what it is used for."""
    text = "\0".join(str(part) for part in (seed, *uses))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
