"""One site's training with Keras."""

import keras
import numpy as np
from model import FEATURES, make, weights

import tasuki.flare as flare


def data(site: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site.
    """
    draw = np.random.default_rng(list(site.encode()))
    x = draw.normal(size=(400, FEATURES)).astype("float32")
    return x, (x[:, 0] - 2 * x[:, 1] > 0).astype("int64")


def main() -> None:
    flare.init()
    x, y = data(flare.get_site_name())
    train, test = (x[:300], y[:300]), (x[300:], y[300:])
    model = make()
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    while flare.is_running():
        input_model = flare.receive()
        for name, arrays in input_model.params.items():
            model.get_layer(name).set_weights(arrays)
        before, received = model.evaluate(*test, verbose=0)
        if flare.is_evaluate():  # all sites score the same weights, and nobody trains
            metrics, meta = {"accuracy": received, "loss": before}, {"num_samples": len(test[0])}
            flare.send(flare.FLModel(metrics=metrics, meta=meta))
            continue

        model.fit(*train, batch_size=16, epochs=2, verbose=0)

        loss, trained = model.evaluate(*test, verbose=0)
        flare.send(
            flare.FLModel(
                params=weights(model),
                metrics={"accuracy": trained, "loss": loss, "received_accuracy": received},
                meta={"num_samples": len(train[0])},
            )
        )


if __name__ == "__main__":
    main()
