"""When things run: the pipeline, its recipes, its plan, its commands. Prefect lives only here."""
