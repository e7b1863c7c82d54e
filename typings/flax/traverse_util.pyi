"""What the checker knows of flax.traverse_util, whose code says nothing of its types."""

from collections.abc import Callable, Mapping
from typing import Any

def flatten_dict(
    xs: Mapping[Any, Any], keep_empty_nodes: bool = False, *, sep: str | None = None
) -> dict[Any, Any]: ...
def unflatten_dict(xs: Mapping[Any, Any], sep: str | None = None) -> dict[Any, Any]: ...
def path_aware_map(f: Callable[[tuple[str, ...], Any], Any], nested_dict: Any) -> Any: ...
