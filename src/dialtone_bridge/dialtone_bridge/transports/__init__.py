"""One file a transport; ``base`` says what a transport is."""
