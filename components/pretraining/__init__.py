"""The stage `pretrain`: next-token prediction on text."""
