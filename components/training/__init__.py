"""What every training stage shares: the loop, its optimizers, its guards and its resume points."""
