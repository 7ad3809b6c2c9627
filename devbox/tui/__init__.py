"""The dashboard: a Textual front end over the same functions as the command line.

It owns no logic. `feed` is what it shows, `asks` what it looks up, `operations` what it starts;
`app` puts them on a screen, and `actions` lists every key.
"""
