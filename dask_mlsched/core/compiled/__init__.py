"""The simulator and the controller's hot parts once more, compiled: whole rollouts in milliseconds.

`simulator.simulate` drives the very controller that serves a cluster, event by event, and is what
all else is held against. Training asks for thousands of runs of one DAG, and the simulator needs a
tenth of a millisecond per task; here the same rules are numba functions over arrays, some fifty
times as fast. Tests hold the two equal, task by task and array by array.

`tables` lays the state out, `heaps` and `shelves` are its indexes, `books` is what the controller
keeps, `choosing` what the chooser does, `stores` what workers do, and `engine` the virtual clock.
"""
