"""Pickles that can be loaded where this package is missing.

The plugin's halves travel by pickle to machines that may lack the package, or have another version
of it. There, loading by name fails: a worker would not start for it, and a client would get a
traceback. So the source of a small module goes along, which is run in its place: it looks for the
package itself and says what it found. It is source and no bytecode, as there may be another Python.
"""

from __future__ import annotations

import importlib.resources
from typing import Any, Final

_MAKE: Final = (
    "(lambda names: exec(source, names) or names['make'](**arguments))"
    "({'__name__': 'mlsched_bootstrap'})"
)


def made_there(module: str, **arguments: Any) -> tuple[Any, ...]:
    """Return what `__reduce__` is to return: a call of a module's `make`, wherever it is loaded.

    Parameters
    ----------
    module
        Name of a module beside this one, which imports nothing of this package as it is loaded.
    **arguments
        Of its `make`; plain values.
    """
    source = importlib.resources.files(__package__).joinpath(f"{module}.py").read_text()
    return eval, (_MAKE, {"source": source, "arguments": arguments})
