"""Agents: what a conversation is, which tools it may call, and how a model is rolled out."""
