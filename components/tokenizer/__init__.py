"""The tokenizer: byte-level BPE, special tokens, chat template, and the contract that joins them."""
