"""The tokenizer: byte-level BPE, special tokens, chat template, and their contract."""
