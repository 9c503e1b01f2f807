"""Many runs as one thing: studies that search for settings."""
