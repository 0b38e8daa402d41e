"""Policies that learn from runs; knows nothing of Dask."""
