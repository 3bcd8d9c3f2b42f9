"""Clients of the bridge, free of ROS: for the self-test, the benchmarks and the tests."""
