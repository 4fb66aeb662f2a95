"""The commands: each reads its arguments, calls one function elsewhere, and prints."""
