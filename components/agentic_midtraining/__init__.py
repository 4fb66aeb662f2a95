"""The stage `agentic_midtrain`: trajectories mixed with text."""
