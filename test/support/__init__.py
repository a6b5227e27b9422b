"""What the tests and the scripts of benchmarks/ share: a rig of cameras and nodes, fault injection, message fuzzing."""
