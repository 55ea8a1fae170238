"""Every figure of the project: functions that return a Matplotlib figure, a module a subject."""
