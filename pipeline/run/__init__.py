"""Stage one over many clips: tasks, workers, what is kept, the report."""
