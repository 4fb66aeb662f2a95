"""The course of a phase: which sequences each step takes, while the context grows."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from components.pretraining.config import PretrainConfig
from components.training.seeds import derived_seed


@dataclass(frozen=True)
class Segment:
    """Hold the steps of one sequence length.

    Sequence `row` of step s is number `(s - first_step) * rows + row` of the segment, drawn with
    the segment's own seed.
    """

    first_step: int
    length: int
    rows: int
    seed: int


@dataclass(frozen=True)
class Course:
    """Hold the segments of a phase in order."""

    steps: int
    segments: tuple[Segment, ...]

    def at(self, step: int) -> Segment:
        """Return the segment that a step belongs to."""
        firsts = [segment.first_step for segment in self.segments]
        return self.segments[bisect_right(firsts, step) - 1]


def course(config: PretrainConfig, data_seed: int) -> Course:
    """Return the course of a phase: a pure function of its configuration and the seed."""
    steps = math.ceil(config.tokens / config.batch_tokens)
    lengths = [(0.0, config.sequence_length), *config.growth]
    segments = [
        Segment(
            first_step=round(share * steps),
            length=length,
            rows=config.batch_tokens // length,
            seed=derived_seed(data_seed, "segment", number),
        )
        for number, (share, length) in enumerate(lengths)
    ]
    return Course(steps, tuple(segments))
