"""Reads recordings or live records, joins the decision chain, checks it and reports."""
