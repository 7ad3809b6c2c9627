"""Streams from boxes: client, latest-value cells, history."""
