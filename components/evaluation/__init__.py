"""The evaluation stage: scores of one checkpoint, with intervals and per-item outcomes."""
