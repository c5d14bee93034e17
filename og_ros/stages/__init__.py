"""Model stages: the model session and the adapters between ROS messages and tensors. Needs no ROS."""
