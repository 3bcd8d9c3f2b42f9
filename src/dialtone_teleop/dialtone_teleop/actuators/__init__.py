"""What moves: one file for each kind of vehicle, all behind ``base.Actuator``."""
