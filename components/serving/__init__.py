"""An OpenAI-compatible chat server for a released or trained model; not a stage."""
