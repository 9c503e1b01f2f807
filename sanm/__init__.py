"""SANM: an ablation and sweep harness for learning with noisy labels."""
