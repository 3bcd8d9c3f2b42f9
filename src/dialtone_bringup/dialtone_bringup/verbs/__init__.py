"""The verbs of the ``dialtone`` command that this package brings, one file each."""
