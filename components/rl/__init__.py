"""The RL stage: multi-turn GRPO with verifiable rewards."""
