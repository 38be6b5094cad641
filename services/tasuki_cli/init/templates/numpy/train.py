"""One turn of training at one site: weights in, weights out. Here it is a logistic regression."""

import numpy as np

from tasuki import Result, Scores, Turn

FEATURES = 4


def first() -> dict[str, np.ndarray]:
    """The run's first weights. A result has the same names, shapes and dtypes."""
    return {"weight": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}


def data(turn: Turn) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in the folder that turn.data names.

    These numbers are drawn, other ones at each site.
    """
    draw = np.random.default_rng(list(turn.site.encode()))
    x = draw.normal(size=(400, FEATURES)).astype(np.float32)
    y = (x[:, 0] - 2 * x[:, 1] + draw.normal(scale=0.3, size=400) > 0).astype(np.float32)
    return x, y


def train(turn: Turn) -> Result:
    x, y = data(turn)
    x_train, y_train, x_test, y_test = x[:300], y[:300], x[300:], y[300:]

    weights = turn.weights("numpy")
    received = accuracy(weights, x_test, y_test)
    for epoch in range(turn.params["epochs"]):
        # The generators of Python, NumPy and torch are seeded for the turn: it can be repeated.
        for batch in np.array_split(np.random.permutation(len(x_train)), 30):
            error = predict(weights, x_train[batch]) - y_train[batch]
            weights["weight"] -= turn.params["lr"] * error @ x_train[batch] / len(batch)
            weights["bias"] -= turn.params["lr"] * error.mean()
        turn.log(epoch=epoch + 1, epochs=turn.params["epochs"])  # shown while it trains

    metrics = {"accuracy": accuracy(weights, x_test, y_test), "received_accuracy": received}
    return turn.result(weights, metrics=metrics, samples=len(x_train))


def evaluate(turn: Turn) -> Scores:
    """Where all sites score the same weights, which `[evaluate]` in run.toml asks for."""
    x, y = data(turn)
    metrics = {"accuracy": accuracy(turn.weights("numpy"), x[300:], y[300:])}
    return turn.scores(metrics, samples=100)


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(x @ weights["weight"] + weights["bias"])))


def accuracy(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(((predict(weights, x) > 0.5) == y).mean())
