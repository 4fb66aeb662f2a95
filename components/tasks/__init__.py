"""Tasks: questions with checked answers, the world their tools read, and benchmark items."""
