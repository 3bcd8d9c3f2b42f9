"""Pictures from NATS to browsers, newest first."""
