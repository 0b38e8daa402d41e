"""What is resident on a worker, as `residency.Residency` has it: one shelf of `Tables`.

The resident arrays of a shelf stand in a circle from the least recently used one to the one used
last; number `n`, which is no task, is between the two.
"""

from __future__ import annotations

from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import NO_LIMIT, NOWHERE, RESIDENT, SLOW
from dask_mlsched.core.compiled.tables import Tables


@compiled
def is_resident(t: Tables, shelf: int, array: int) -> bool:
    """Tell whether the array is in the fast tier."""
    return bool(t.places[shelf, array].where == RESIDENT)


@compiled
def is_held(t: Tables, shelf: int, array: int) -> bool:
    """Tell whether the array is in either tier."""
    return bool(t.places[shelf, array].where != NOWHERE)


@compiled
def size_on(t: Tables, shelf: int, array: int) -> int:
    """Return the bytes that an array counts as: the store knows, the scheduler may estimate."""
    if shelf < t.rules[0].workers:
        return int(t.tasks[array].size)
    return int(t.nbytes[array])


@compiled
def _unlink(t: Tables, shelf: int, array: int) -> None:
    place = t.places[shelf, array]
    t.places[shelf, place.older].younger = place.younger
    t.places[shelf, place.younger].older = place.older


@compiled
def _link_last(t: Tables, shelf: int, array: int) -> None:
    end = t.rules[0].tasks
    last = t.places[shelf, end].older
    place = t.places[shelf, array]
    place.older = last
    place.younger = end
    t.places[shelf, last].younger = array
    t.places[shelf, end].older = array
    t.shelves[shelf].clock += 1
    place.used = t.shelves[shelf].clock


@compiled
def oldest(t: Tables, shelf: int) -> int:
    """Return the array that was used longest ago; the number of tasks if none is resident."""
    return int(t.places[shelf, t.rules[0].tasks].younger)


@compiled
def evict(t: Tables, shelf: int, array: int) -> bool:
    """Move an array to the slow tier; False if it was not resident."""
    place = t.places[shelf, array]
    if place.where != RESIDENT:
        return False
    _unlink(t, shelf, array)
    size = size_on(t, shelf, array)
    row = t.shelves[shelf]
    row.resident_bytes -= size
    row.resident -= 1
    place.where = SLOW  # `clean` stays: it tells whether this has cost a copy
    row.slow += 1
    row.slow_bytes += size
    return True


@compiled
def make_room(t: Tables, shelf: int) -> None:
    """Evict what was used longest ago until the limit holds; note each in `gone`."""
    row = t.shelves[shelf]
    if row.limit == NO_LIMIT:
        return
    clock = t.clock[0]
    while row.resident_bytes > row.limit and row.resident > 0:
        array = oldest(t, shelf)
        evict(t, shelf, array)
        t.gone[clock.gone] = array
        clock.gone += 1


@compiled
def touch(t: Tables, shelf: int, array: int) -> None:
    """Read or insert an array: it becomes the one used last; note in `came` and `gone` what moved.

    One larger than the limit stays in the slow tier.
    """
    place = t.places[shelf, array]
    if place.where == RESIDENT:
        _unlink(t, shelf, array)
        _link_last(t, shelf, array)
        return
    row = t.shelves[shelf]
    size = size_on(t, shelf, array)
    if row.limit != NO_LIMIT and size > row.limit:
        store_slow(t, shelf, array)
        return
    place.clean = place.where == SLOW
    if place.where == SLOW:
        row.slow -= 1
        row.slow_bytes -= size
    place.where = RESIDENT
    _link_last(t, shelf, array)
    row.resident_bytes += size
    row.resident += 1
    clock = t.clock[0]
    t.came[clock.came] = array
    clock.came += 1
    make_room(t, shelf)


@compiled
def store_slow(t: Tables, shelf: int, array: int) -> None:
    """Put an array that is not resident into the slow tier, if it is not there."""
    place = t.places[shelf, array]
    if place.where == NOWHERE:
        place.where = SLOW
        t.shelves[shelf].slow += 1
        t.shelves[shelf].slow_bytes += size_on(t, shelf, array)


@compiled
def discard(t: Tables, shelf: int, array: int) -> bool:
    """Forget an array in either tier; True if it was resident."""
    place = t.places[shelf, array]
    where = place.where
    if where == RESIDENT:
        _unlink(t, shelf, array)
        t.shelves[shelf].resident_bytes -= size_on(t, shelf, array)
        t.shelves[shelf].resident -= 1
    elif where == SLOW:
        t.shelves[shelf].slow -= 1
        t.shelves[shelf].slow_bytes -= size_on(t, shelf, array)
    place.where = NOWHERE
    place.clean = False
    return bool(where == RESIDENT)


@compiled
def resize(t: Tables, shelf: int, array: int, nbytes: int) -> None:
    """Correct the size of an array that is expected on a shelf; note what that moved."""
    place = t.places[shelf, array]
    old = t.tasks[array].size
    t.tasks[array].size = nbytes
    if place.where == RESIDENT:
        t.shelves[shelf].resident_bytes += nbytes - old
        make_room(t, shelf)
    elif place.where == SLOW:
        t.shelves[shelf].slow_bytes += nbytes - old
    else:
        touch(t, shelf, array)
