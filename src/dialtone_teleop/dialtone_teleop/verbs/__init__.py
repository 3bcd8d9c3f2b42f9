"""Verbs of the ``dialtone`` command."""
