"""Runs recorded inferences again: which ones, how, and what that proves of the whole run."""
