"""Named grids: what is in one, what of it is done."""
