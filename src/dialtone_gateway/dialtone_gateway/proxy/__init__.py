"""NATS and Foxglove through the gateway's own port."""
