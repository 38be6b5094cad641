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


def data(site: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = np.random.default_rng(list(site.encode()))
    x = draw.normal(size=(500, FEATURES)).astype(np.float32)
    y = (x[:, 0] - 2 * x[:, 1] > 0).astype(np.float32)
    return x[parts[part]], y[parts[part]]


def main() -> None:
    flare.init()
    site = flare.get_site_name()
    x_train, y_train = data(site, "train")

    while flare.is_running():
        input_model = flare.receive()
        weights = input_model.params
        x_held, y_held = data(site, flare.get_config()["split"] or "validation")
        received = accuracy(weights, x_held, y_held)
        if flare.is_evaluate():  # all sites score the same weights, and nobody trains
            meta = {"num_samples": len(x_held)}
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
                    "accuracy": accuracy(weights, x_held, y_held),
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
