"""Sandbox: a session in which commands that a model wrote run without reaching anything else."""
