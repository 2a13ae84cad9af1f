"""Point warnings at the line of the user, however deep in the package they arise."""

import sys
import warnings

# These frames are not the user's: ours, and those that wrap our functions.
_INSIDE = ("genemamba_sc", "jaxtyping", "beartype", "contextlib", "scvi", "lightning")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first frame outside the package.

    Python shows that line beside the message, and shows a message once for each such line.

    Parameters
    ----------
    message
        Text with the rule, the value and the way out.
    category
        Category of the warning.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in _INSIDE
