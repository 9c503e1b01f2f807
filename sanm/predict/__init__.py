"""Predictions of a trained model on image files, streamed into a table; ``python -m sanm.predict``."""
