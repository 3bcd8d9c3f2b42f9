"""The web server of a robot: dashboard, video, API, login, and the way to NATS and Foxglove."""
