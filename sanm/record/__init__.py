"""What a run is, its directory, its checkpoint, where it comes from."""
