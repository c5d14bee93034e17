"""Settlement: where a log's checkpoint becomes final, and receipts that show it. Chains need og_ros[evm]."""
