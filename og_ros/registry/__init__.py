"""Which models and which keys are certified, by whom, since when, revoked when."""
