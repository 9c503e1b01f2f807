"""Searches over settings: what is asked for, which trial is next, how it ends."""
