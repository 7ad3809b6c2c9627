"""Hugging Face: Spaces in Dev Mode (`hf-space`) and Jobs (`hf-job`).

The real client library does the calls; every fault of it leaves here as a devbox error. Sources of
facts: huggingface_hub 2.4.0 (its installed source) and the Hub's public documentation.
"""
