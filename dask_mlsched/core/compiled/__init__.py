"""The simulator and the controller's hot parts once more, compiled: whole rollouts in milliseconds.

`simulator.simulate` drives the very controller that serves a cluster, event by event, and is what
all else is held against. Training asks for thousands of runs of one DAG, and the simulator needs a
tenth of a millisecond per task; here the same rules are numba functions over arrays, some fifty
times as fast. Tests hold the two equal, task by task and array by array.

`layouts` says what a row is, `tables` lays the state out, `heaps` and `shelves` are its indexes,
`books` is what the controller keeps, `choosing` what the chooser does, `evicting` which arrays go,
`stores` what workers do, `engine` the virtual clock with its `agenda`. `live` keeps the same tables
beside a live controller, for `planners.mirror`.
"""
