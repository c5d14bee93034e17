"""Training of the demo models: exact arithmetic, data from the simulated world, and the ONNX graphs."""
