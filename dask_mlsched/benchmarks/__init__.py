"""Workloads, and the runner that compares policies on them."""
