"""What networks start from: SimCLR encoders, published checkpoints."""
