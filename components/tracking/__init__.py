"""What a step reports while it runs, and how that reaches MLflow."""
