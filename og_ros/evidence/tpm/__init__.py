"""Evidence by a TPM 2.0: what a TPM signs, how it is checked without one, and what is done on the robot."""
