"""Models: the paper's architectures and their switches, external ones, users' own."""
