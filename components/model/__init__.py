"""The language model: a dense Youtu-LLM with multi-head latent attention."""
