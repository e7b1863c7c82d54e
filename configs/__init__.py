"""Named configurations; `default.py` documents every key, the others override it."""
