"""For Starlette, FastAPI and whatever else speaks ASGI.

    application = TaskASGIMiddleware(app, "/srv/shop")
"""

from __future__ import annotations

from ..web.asgi import TaskASGIMiddleware

__all__ = ["TaskASGIMiddleware"]
