"""Verbs of the ``dialtone`` command that belong to the gateway."""
