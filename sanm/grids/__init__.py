"""Many runs: composed, checked, trained, counted."""
