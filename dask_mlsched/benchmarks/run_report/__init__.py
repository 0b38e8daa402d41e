"""A recorded run on one page: what took its time, what moved, what was decided."""
