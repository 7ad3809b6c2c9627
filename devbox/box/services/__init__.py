"""Bundled services, one folder each with a service.toml, and what their apps are made with:

problem.py   errors that are answers: a status, a JSON body {"error": …}, headers
bounded.py   so many requests at work, so many waiting, 503 for the others
model.py     the model in a process of its own
serve.py     runs an app until it is asked to end, and counts its requests
"""
