"""One site's training with Keras."""

import keras
import numpy as np
from model import FEATURES, make, weights

import tasuki.flare as flare


def data(site: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = np.random.default_rng(list(site.encode()))
    x = draw.normal(size=(500, FEATURES)).astype("float32")
    y = (x[:, 0] - 2 * x[:, 1] > 0).astype("int64")
    return x[parts[part]], y[parts[part]]


def main() -> None:
    flare.init()
    site = flare.get_site_name()
    train = data(site, "train")
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
        held_out = data(site, flare.get_config()["split"] or "validation")
        before, received = model.evaluate(*held_out, verbose=0)
        if flare.is_evaluate():  # all sites score the same weights, and nobody trains
            metrics = {"accuracy": received, "loss": before}
            meta = {"num_samples": len(held_out[0])}
            flare.send(flare.FLModel(metrics=metrics, meta=meta))
            continue

        model.fit(*train, batch_size=16, epochs=2, verbose=0)

        loss, trained = model.evaluate(*held_out, verbose=0)
        flare.send(
            flare.FLModel(
                params=weights(model),
                metrics={"accuracy": trained, "loss": loss, "received_accuracy": received},
                meta={"num_samples": len(train[0])},
            )
        )


if __name__ == "__main__":
    main()
