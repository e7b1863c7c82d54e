"""What the checker knows of ml_collections.config_flags."""

from typing import Any

from absl import flags

def DEFINE_config_file(  # noqa: N802 - the library's name
    name: str,
    default: str | None = None,
    help_string: str = ...,
    flag_values: flags.FlagValues = ...,
    lock_config: bool = True,
    accept_new_attributes: bool = False,
    sys_argv: list[str] | None = None,
    **kwargs: Any,
) -> flags.FlagHolder: ...
