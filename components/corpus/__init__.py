"""The corpus: documents from named sources, cleaned, deduplicated and split."""
