"""Many runs at once: the paper's tables as grids, the machines they run on, studies."""
