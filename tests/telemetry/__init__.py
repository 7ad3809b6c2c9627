"""Telemetry: streams from boxes."""
