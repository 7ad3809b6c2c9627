"""Prices, costs, budgets, fit, reports."""
