"""One message, one code path: how a step is requested, started, watched and ended."""
