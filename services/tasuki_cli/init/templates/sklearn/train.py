"""One turn of training at one site: weights in, weights out. Here it is a linear classifier."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from tasuki import Result, Scores, Turn

FEATURES, CLASSES = 4, np.array([0, 1])


def first() -> dict[str, np.ndarray]:
    """The run's first weights. A result has the same names, shapes and dtypes."""
    return {"coef": np.zeros((1, FEATURES)), "intercept": np.zeros(1)}


def data(turn: Turn, part: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in the folder that turn.data names.

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = np.random.default_rng(list(turn.site.encode()))
    x = draw.normal(size=(500, FEATURES))
    y = (x[:, 0] - 2 * x[:, 1] + draw.normal(scale=0.3, size=500) > 0).astype(int)
    return x[parts[part]], y[parts[part]]


def train(turn: Turn) -> Result:
    x_train, y_train = data(turn, "train")
    x_held, y_held = data(turn, "validation")

    model = received_model(turn)
    received = model.score(x_held, y_held)
    for epoch in range(turn.params["epochs"]):
        model.partial_fit(x_train, y_train)
        turn.log(epoch=epoch + 1, epochs=turn.params["epochs"])  # shown while it trains

    return turn.result(
        {"coef": model.coef_, "intercept": model.intercept_},
        metrics={"accuracy": model.score(x_held, y_held), "received_accuracy": received},
        samples=len(x_train),
    )


def evaluate(turn: Turn) -> Scores:
    """Where all sites score the same weights, which `[evaluate]` in run.toml asks for."""
    x, y = data(turn, turn.split or "validation")
    return turn.scores({"accuracy": received_model(turn).score(x, y)}, samples=len(x))


def received_model(turn: Turn) -> SGDClassifier:
    model = SGDClassifier(loss="log_loss", random_state=turn.seed)
    model.partial_fit(np.zeros((2, FEATURES)), CLASSES, classes=CLASSES)  # makes the arrays
    weights = turn.weights("numpy")
    model.coef_, model.intercept_ = weights["coef"], weights["intercept"]
    return model
