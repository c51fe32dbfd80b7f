"""A FastAPI app with tasks.

    uvicorn --workers 2 shop:application
    dracotask . list

Each worker looks after the tasks from its lifespan's start; no request need come first.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from dracotask.integrations.asgi import TaskASGIMiddleware

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def home():
    return "The shop is open.\n"


# The console needs a2wsgi: pip install dracotask[asgi]
application = TaskASGIMiddleware(app, Path(__file__).resolve().parent, console="/tasks")
