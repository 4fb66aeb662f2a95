"""One module per benchmark; each returns items and leaves intervals to `confidence`."""
