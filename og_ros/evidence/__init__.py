"""What proves the execution environment of a key: attesters make evidence, verifiers appraise it, offline."""
