"""One site's training, as a script for NVFlare's Client API.

In an NVFlare script the import of flare would be `import nvflare.client as flare`. Your own script
goes here: change its imports, and name its first weights in run.toml.
"""

import numpy as np

import tasuki.flare as flare

FEATURES = 4
EPOCHS = 2
LEARNING_RATE = 0.1


def first() -> dict[str, np.ndarray]:
    """The run's first weights. What is sent has the same names, shapes and dtypes."""
    return {"weight": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}


def data(site: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site.
    """
    draw = np.random.default_rng(list(site.encode()))
    x = draw.normal(size=(400, FEATURES)).astype(np.float32)
    return x, (x[:, 0] - 2 * x[:, 1] > 0).astype(np.float32)


def main() -> None:
    flare.init()
    x, y = data(flare.get_site_name())
    x_train, y_train, x_test, y_test = x[:300], y[:300], x[300:], y[300:]

    while flare.is_running():
        input_model = flare.receive()
        weights = input_model.params
        received = accuracy(weights, x_test, y_test)
        if flare.is_evaluate():  # all sites score the same weights, and nobody trains
            meta = {"num_samples": len(x_test)}
            flare.send(flare.FLModel(metrics={"accuracy": received}, meta=meta))
            continue

        for _ in range(EPOCHS):
            for batch in np.array_split(np.random.permutation(len(x_train)), 30):
                error = predict(weights, x_train[batch]) - y_train[batch]
                weights["weight"] -= LEARNING_RATE * error @ x_train[batch] / len(batch)
                weights["bias"] -= LEARNING_RATE * error.mean()

        flare.send(
            flare.FLModel(
                params=weights,
                metrics={
                    "accuracy": accuracy(weights, x_test, y_test),
                    "received_accuracy": received,
                },
                meta={"num_samples": len(x_train)},
            )
        )


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(x @ weights["weight"] + weights["bias"])))


def accuracy(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(((predict(weights, x) > 0.5) == y).mean())


if __name__ == "__main__":
    main()
