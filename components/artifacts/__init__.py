"""Typed artifacts, the store that keeps them, and the identity by which they are found again."""
