"""Intervals of scores: one proportion, one mean, a ratio of sums, and the paired difference of two
checkpoints.

Two checkpoints are scored on the same items, so their difference is judged item by item: intervals
of each score alone may overlap although the difference is certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

RESAMPLES = 2_000


def quantile(confidence: float) -> float:
    """Return z of the two-sided normal interval, 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927); (0, 1) for no trials."""
    if n == 0:
        return 0.0, 1.0
    z = quantile(confidence)
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - reach) / scale, (centre + reach) / scale
    # At no and at all successes a bound is the share itself, which rounding would cross.
    return min(share, max(0.0, low)), max(share, min(1.0, high))


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return sum(numerators) / sum(denominators) with a percentile bootstrap interval over the
    pairs.

    For bits per byte a pair is a document: its bits and its bytes (Efron 1979; 2,000 resamples,
    seeded).
    """
    top, bottom = np.asarray(numerators, float), np.asarray(denominators, float)
    if len(top) == 0 or bottom.sum() == 0:
        return math.nan, math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(top), size=(RESAMPLES, len(top)))
    ratios = top[drawn].sum(axis=1) / np.maximum(bottom[drawn].sum(axis=1), 1e-12)
    edge = (1 - confidence) / 2
    low, high = np.quantile(ratios, [edge, 1 - edge])
    return float(top.sum() / bottom.sum()), float(low), float(high)


def paired_difference(
    items_a: Mapping[str, float],
    items_b: Mapping[str, float],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return mean(b - a) over the items both scored, with its interval.

    Outcomes of 0 and 1 take Newcombe's square-and-add interval for paired proportions with the
    correlation between the two (Newcombe 1998, Statistics in Medicine 17:2635, method 10); other
    values a seeded percentile bootstrap over items. Without a shared item all three are NaN.
    """
    shared = sorted(items_a.keys() & items_b.keys())
    if not shared:
        return math.nan, math.nan, math.nan
    a, b = [items_a[key] for key in shared], [items_b[key] for key in shared]
    if all(value in (0, 1) for value in (*a, *b)):
        return _newcombe_paired(a, b, confidence)
    differences = [right - left for left, right in zip(a, b, strict=True)]
    return ratio_interval(differences, [1.0] * len(differences), confidence=confidence, seed=seed)


def _newcombe_paired(
    a: Sequence[float], b: Sequence[float], confidence: float
) -> tuple[float, float, float]:
    n = len(a)
    both = sum(1 for x, y in zip(a, b, strict=True) if x and y)
    only_b = sum(1 for x, y in zip(a, b, strict=True) if y and not x)
    only_a = sum(1 for x, y in zip(a, b, strict=True) if x and not y)
    neither = n - both - only_a - only_b
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson(both + only_a, n, confidence)
    low_b, high_b = wilson(both + only_b, n, confidence)
    phi = _correlation(both, only_b, only_a, neither, n)
    down = _reach(share_b - low_b, high_a - share_a, phi)
    up = _reach(high_b - share_b, share_a - low_a, phi)
    difference = share_b - share_a
    return difference, max(-1.0, difference - down), min(1.0, difference + up)


def _reach(of_b: float, of_a: float, phi: float) -> float:
    return math.sqrt(max(0.0, of_b * of_b - 2 * phi * of_b * of_a + of_a * of_a))


def _correlation(both: int, only_b: int, only_a: int, neither: int, n: int) -> float:
    """Return phi of the paired table, continuity-corrected towards 0 when positive (Newcombe
    1998)."""
    margins = (both + only_b) * (only_a + neither) * (both + only_a) * (only_b + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_b * only_a
    if cross > 0:
        cross = max(cross - n / 2, 0)
    return cross / math.sqrt(margins)
