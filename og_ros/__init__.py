"""og_ros: accountable robot AI. Signed attestations of model inferences, decision chains, and audits."""

__version__ = "0.1.0"
