"""Dialogs. Each returns what the person decided, None for cancel."""
