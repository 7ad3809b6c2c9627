"""The box half: everything that runs on a box. Python >= 3.9, standard library at import."""
