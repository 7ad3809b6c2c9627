"""Loopback stand-ins for the providers, driven by their real client libraries."""
