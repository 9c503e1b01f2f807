"""Which labels of a finished run's data are wrong: a ranked list, a summary, a page of pictures, a mended table."""
