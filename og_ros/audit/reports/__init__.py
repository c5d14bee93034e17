"""What an audit leaves: the report, and its forms for people, programs, CI systems, regulators and relying parties."""
