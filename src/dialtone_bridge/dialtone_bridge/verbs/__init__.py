"""Verbs of the ``dialtone`` command that speak to a running bridge."""
