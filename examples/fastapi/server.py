"""A small FastAPI server that says which one it is: `python server.py 5001`.

It is healthy from the end of its start to the beginning of its end, so Headgate sends requests just then.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request, Response


@asynccontextmanager
async def lifespan(app: FastAPI):
    """What has to be there before the first request, and to be put away after the last."""
    await asyncio.sleep(0.1)  # connecting to a database, loading a model
    app.state.ready = True
    yield
    app.state.ready = False


app = FastAPI(lifespan=lifespan)
app.state.port = 0
app.state.ready = False


@app.get("/")
async def index(request: Request):
    """Who answers, and whom. uvicorn takes the client's address from X-Forwarded-For, as its peer is 127.0.0.1."""
    return {"server": app.state.port, "client": request.client.host}


@app.get("/health")
async def health(response: Response):
    """What Headgate asks every second."""
    response.status_code = 200 if app.state.ready else 503
    return {"ready": app.state.ready}


if __name__ == "__main__":
    app.state.port = int(sys.argv[1])
    uvicorn.run(app, port=app.state.port, log_level="warning")
