"""Pages inside Dask's own dashboard. They read, and change nothing."""
