"""One turn of training at one site: weights in, weights out. Here it is a linear classifier."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from tasuki import Result, Scores, Turn

FEATURES, CLASSES = 4, np.array([0, 1])


def first() -> dict[str, np.ndarray]:
    """The run's first weights. A result has the same names, shapes and dtypes."""
    return {"coef": np.zeros((1, FEATURES)), "intercept": np.zeros(1)}


def data(turn: Turn) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in the folder that turn.data names.

    These numbers are drawn, other ones at each site.
    """
    draw = np.random.default_rng(list(turn.site.encode()))
    x = draw.normal(size=(400, FEATURES))
    return x, (x[:, 0] - 2 * x[:, 1] + draw.normal(scale=0.3, size=400) > 0).astype(int)


def train(turn: Turn) -> Result:
    x, y = data(turn)
    x_train, y_train, x_test, y_test = x[:300], y[:300], x[300:], y[300:]

    model = received_model(turn)
    received = model.score(x_test, y_test)
    for epoch in range(turn.params["epochs"]):
        model.partial_fit(x_train, y_train)
        turn.log(epoch=epoch + 1, epochs=turn.params["epochs"])  # shown while it trains

    return turn.result(
        {"coef": model.coef_, "intercept": model.intercept_},
        metrics={"accuracy": model.score(x_test, y_test), "received_accuracy": received},
        samples=len(x_train),
    )


def evaluate(turn: Turn) -> Scores:
    """Where all sites score the same weights, which `[evaluate]` in run.toml asks for."""
    x, y = data(turn)
    return turn.scores({"accuracy": received_model(turn).score(x[300:], y[300:])}, samples=100)


def received_model(turn: Turn) -> SGDClassifier:
    model = SGDClassifier(loss="log_loss", random_state=turn.seed)
    model.partial_fit(np.zeros((2, FEATURES)), CLASSES, classes=CLASSES)  # makes the arrays
    weights = turn.weights("numpy")
    model.coef_, model.intercept_ = weights["coef"], weights["intercept"]
    return model
