"""One module per environment; `components.agents.environment.open_environment` chooses."""
