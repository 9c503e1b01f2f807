"""Tables and figures from run directories alone: no torch, no GPU, nothing but the record's files."""

from analysis.load import load, load_epochs

__all__ = ["load", "load_epochs"]
