"""What a device does for a store: tell its arrays from others, and copy them out and in."""

from __future__ import annotations

from typing import Any, Protocol


class Device(Protocol):
    """Copies arrays between a device and the host.

    One device serves the threads of one store at a time. What it raises reaches the store, which
    then still has the array where it was; that there is no memory is a ``MemoryError``.
    """

    #: For people, as in ``status()``.
    name: str

    def owns(self, value: object) -> bool:
        """Whether a value belongs on the device; all else stays on the host."""

    def to_host(self, value: Any) -> tuple[Any, float]:
        """Return a copy on the host that distributed can serialize, done when it returns.

        With it, the seconds that it took, without waiting for other copies.
        """

    def to_device(self, copy: Any) -> tuple[Any, float]:
        """Return on the device what `to_host` copied, done when it returns, and the seconds."""
