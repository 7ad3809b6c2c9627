"""The box half: sampling, history, streams, GPUs."""
