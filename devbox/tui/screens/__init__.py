"""Dialogs. Each returns what the user decided, None for cancel."""
