"""The state file of a fit: what it takes to go on after the process was killed."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from dask_mlsched.learning.whole_file import write_whole

FORMAT: Final = "mlsched-fit"
VERSION: Final = 1


class FitStateError(ValueError):
    """A state file that cannot be gone on from: one line with file, found, expected, cure."""


def save_state(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write a state, replacing the one before as a whole.

    Parameters
    ----------
    path
        The file.
    identity
        What the fit is of: only the same can go on.
    state
        Tensors, numbers, texts, and containers of these.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    whole = {"format": FORMAT, "version": VERSION, "identity": dict(identity), "state": dict(state)}
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """Read a state, or nothing if there is no file.

    Raises
    ------
    FitStateError
        If it is damaged, of another format or version, or of another fit.
    """
    try:
        # Only tensors and plain values: no code is run by reading it.
        whole = torch.load(io.BytesIO(path.read_bytes()), weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise _error(path, f"cannot be read ({problem.strerror})", "a state file") from None
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,  # what torch raises on a file of a few bytes
    ):
        raise _error(path, "damaged, or no state file", f"format {FORMAT!r}") from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise _error(path, "no state of a fit", f"format {FORMAT!r}")
    if whole.get("version") != VERSION:
        raise _error(path, f"version {whole.get('version')!r}", f"{VERSION}")
    for name, expected in identity.items():
        found = whole["identity"].get(name)
        if found != expected:
            raise _error(path, f"of a fit with {name} {found}", f"{name} {expected}")
    state: dict[str, Any] = whole["state"]
    return state


def _error(path: Path, found: str, expected: str) -> FitStateError:
    cure = "remove the file to begin anew, or name another"
    return FitStateError(f"state file {str(path)!r}: {found}; expected {expected}; {cure}")
