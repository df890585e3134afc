"""FastAPI, joblib and uvicorn: ``fastapi_server.py MODEL PORT``.

An ``async`` route, because a thread per request only adds switches while one core computes; raw arrays, because a data frame
per request costs more than the forest's smallest part.
"""

import sys
import warnings
from typing import Annotated

import joblib
import numpy as np
import uvicorn
from fastapi import Body, FastAPI

warnings.filterwarnings("ignore", message="X does not have valid feature names")
app = FastAPI()
model = joblib.load(sys.argv[1])


@app.get("/ping")
async def ping() -> None:
    """Say that the model is loaded."""


@app.post("/predict")
async def predict(data: Annotated[list[list[float]], Body(embed=True)]) -> dict[str, list[int]]:
    """Predict the labels of some rows."""
    return {"predictions": model.predict(np.array(data)).tolist()}


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
