"""The ways into a framework's stack. Each is thin: ``TaskMiddleware`` does the work, and the program ``dracotask.py``.

Settings of a framework say what the web process must know: the docroot, where the console is, who may see it. What
changes how a task runs stands in ``dracotask.toml``, for cron never sees a framework's settings.
"""
