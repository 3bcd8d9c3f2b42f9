"""Process graph, supervisor and the command line; what starts a robot and what checks it."""
