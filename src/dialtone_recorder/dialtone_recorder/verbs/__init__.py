"""The recorder's verbs of the ``dialtone`` command."""
