"""What the checker knows of wrapt: it cannot follow its decorators, and so leaves them out.

TFDS wraps methods of its builders so; left out, their own arguments are checked.
"""

from typing import Any

def decorator(wrapper: Any): ...
