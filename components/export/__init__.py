"""The export stage: a Hugging Face folder with model card and certificate."""
