"""What connects the core to Dask; it takes no decisions."""
