"""Dataset formats, one file each, found by the entry point group ``dialtone.exporters``."""
