"""The scheduler's logic, without Dask: no clock, no I/O, no global randomness.

Events go in (`events`), instructions come out; in between are the graph
(`graph`), what is resident on each device (`residency`), the tasks that are
parked (`parked`), the policies (`policies`) and the controller, which alone
changes any of it (`controller`). The live plugin and the simulator drive the
same controller.
"""
