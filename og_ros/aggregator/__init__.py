"""The aggregator: takes many robots' checkpoints, logs them in one tree, settles its root. Needs og_ros[aggregator]."""
