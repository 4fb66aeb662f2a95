"""A permutation of 0 .. n-1 that is computed point by point and never stored.

A Feistel network over the smallest even number of bits that holds n, keyed by SHA-256 of seed and
epoch; results beyond n are sent through again (cycle walking, Black and Rogaway 2002). An epoch of
ten trillion tokens needs no table, and any position is as near as the first.
"""

from __future__ import annotations

import hashlib

ROUNDS = 6
_MASK = (1 << 64) - 1


def permuted(index: int, count: int, *key: object) -> int:
    """Return where `index` goes in the permutation of `count` that `key` names.

    Raises IndexError unless 0 <= index < count.
    """
    if not 0 <= index < count:
        raise IndexError(f"{index} is outside a permutation of {count}")
    half = max((count - 1).bit_length() + 1, 2) // 2
    keys = _round_keys(key)
    while True:
        index = _feistel(index, half, keys)
        if index < count:
            return index


def _feistel(value: int, half: int, keys: list[int]) -> int:
    low = (1 << half) - 1
    left, right = value >> half, value & low
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & low)
    return left << half | right


def _mix(value: int) -> int:
    """Scatter 64 bits (the finalizer of SplitMix64, Steele et al. 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def _round_keys(key: tuple[object, ...]) -> list[int]:
    digest = hashlib.shake_256(repr(key).encode()).digest(8 * ROUNDS)
    return [int.from_bytes(digest[at : at + 8], "little") for at in range(0, len(digest), 8)]
