"""From what Hydra composed to checked plain values."""
