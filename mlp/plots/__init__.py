"""Every figure of the project: functions that return a Matplotlib figure, a module a subject.

Raises InputError when it is imported without Matplotlib or Pillow.
"""

from mlp.files import InputError

try:
    import matplotlib  # noqa: F401
    import PIL  # noqa: F401
except ImportError as error:
    raise InputError(
        f"figures need Matplotlib and Pillow ({error}): pip install matplotlib pillow"
    ) from error
