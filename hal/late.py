"""`dataclass` as the standard library has it, but made when the class is first used.

Making a frozen dataclass costs some 3.5 million instructions, most of them for compiling methods,
and a station that starts needs a third of its classes; so the methods are made with the first
object (or the first look at the fields). After that the class is the very same. To type checkers it
is the standard one. Not for `slots`, which need another class.
"""

import dataclasses
from threading import RLock
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: Any = None, /, **how: Any) -> Any:
        """As `dataclasses.dataclass`."""
        if cls is None:
            return lambda cls: dataclass(cls, **how)
        if how.get("slots") or "__init__" in vars(cls):
            return dataclasses.dataclass(cls, **how)
        _Unmade(cls, how)
        return cls


_making = RLock()


class _Unmade:
    """Stands for the fields of a class that is still to be made."""

    def __init__(self, cls: Any, how: dict[str, Any]) -> None:
        self._cls: Any = cls
        self._how = how

        def first(one: Any, *args: Any, **kwargs: Any) -> None:
            self.make()
            cls.__init__(one, *args, **kwargs)

        self._first = cls.__init__ = first
        cls.__dataclass_fields__ = self

    def __get__(self, _: Any, owner: Any) -> Any:
        """Who asks for the fields gets them."""
        self.make()
        return self._cls.__dict__["__dataclass_fields__"]

    def make(self) -> None:
        """Once, whoever comes first; whoever comes meanwhile waits."""
        cls = self._cls
        with _making:
            if vars(cls)["__init__"] is not self._first:
                return
            del cls.__dataclass_fields__
            dataclasses.dataclass(cls, **self._how | {"init": False})
            # the __init__ of a heir without fields of its own is the one of the class itself, and
            # takes the place of `first` in one step, under whichever thread is just calling that
            heir: Any = type(cls.__name__, (cls,), {"__annotations__": {}})
            dataclasses.dataclass(
                heir, frozen=self._how.get("frozen", False), eq=False, repr=False)
            cls.__init__ = heir.__init__
