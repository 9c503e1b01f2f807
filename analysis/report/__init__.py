"""One HTML page of all that a folder of runs supports: what they are, tables, figures, and the runs themselves."""
