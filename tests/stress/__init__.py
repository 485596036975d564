"""What is tried at length, in real processes: a small version of each runs with the slow tests."""
