"""The shipped recipes: each a function that returns a Recipe; most change fields of another."""
