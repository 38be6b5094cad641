"""One turn of training at one site: weights in, weights out. Here it is a logistic regression."""

import numpy as np

from tasuki import Result, Scores, Turn

FEATURES = 4


def first() -> dict[str, np.ndarray]:
    """The run's first weights. A result has the same names, shapes and dtypes."""
    return {"weight": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}


def data(turn: Turn, part: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in the folder that turn.data names.

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = np.random.default_rng(list(turn.site.encode()))
    x = draw.normal(size=(500, FEATURES)).astype(np.float32)
    y = (x[:, 0] - 2 * x[:, 1] + draw.normal(scale=0.3, size=500) > 0).astype(np.float32)
    return x[parts[part]], y[parts[part]]


def train(turn: Turn) -> Result:
    x_train, y_train = data(turn, "train")
    x_held, y_held = data(turn, "validation")

    weights = turn.weights("numpy")
    received = accuracy(weights, x_held, y_held)
    for epoch in range(turn.params["epochs"]):
        # The generators of Python, NumPy and torch are seeded for the turn: it can be repeated.
        for batch in np.array_split(np.random.permutation(len(x_train)), 30):
            error = predict(weights, x_train[batch]) - y_train[batch]
            weights["weight"] -= turn.params["lr"] * error @ x_train[batch] / len(batch)
            weights["bias"] -= turn.params["lr"] * error.mean()
        turn.log(epoch=epoch + 1, epochs=turn.params["epochs"])  # shown while it trains

    metrics = {"accuracy": accuracy(weights, x_held, y_held), "received_accuracy": received}
    return turn.result(weights, metrics=metrics, samples=len(x_train))


def evaluate(turn: Turn) -> Scores:
    """Where all sites score the same weights, which `[evaluate]` in run.toml asks for."""
    x, y = data(turn, turn.split or "validation")
    metrics = {"accuracy": accuracy(turn.weights("numpy"), x, y)}
    return turn.scores(metrics, samples=len(x))


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(x @ weights["weight"] + weights["bias"])))


def accuracy(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(((predict(weights, x) > 0.5) == y).mean())
