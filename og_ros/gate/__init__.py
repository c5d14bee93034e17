"""The gate: a command passes only when its whole chain, back to sensor messages that the gate saw, verified."""
