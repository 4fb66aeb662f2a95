"""Training text as tokens: decontaminated, packed to files, read as a pure function."""
