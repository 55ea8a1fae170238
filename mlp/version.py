"""The package's version, in a module that no stage loads: a new one reruns nothing."""

__version__ = "0.1.0"
