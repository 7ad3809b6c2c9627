"""How we reach a box: keys, known hosts, config file, connection."""
