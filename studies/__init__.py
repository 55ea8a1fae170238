"""Further pipelines, on the project's data and package."""

import stages as stages  # before NumPy: pins the kernels
