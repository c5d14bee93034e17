"""Evidence by a TPM 2.0: what a robot's TPM signs, how it is checked without one, and the few things done on the robot."""
