"""Training text as tokens: decontaminated, packed to memory-mapped files, read as a pure function."""
