"""Readers of the file kinds that Debian packages carry: files in, documents out."""
