"""Run directories into the tracker that a group uses: one file a tracker, one that says what of a run goes there."""
