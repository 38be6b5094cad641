"""One site's training with TensorFlow's Keras, written for NVFlare's Client API.

In an NVFlare script the import of flare would be `import nvflare.client as flare`; nothing else
differs.
"""

from math import inf
from time import monotonic

import keras
from model import make, weights
from sklearn.datasets import load_digits

import tasuki.flare as flare

SITES = 3
TEST = 360  # images that no site trains on
EPOCHS = 2


class OutOfTime(keras.callbacks.Callback):
    """Ends a turn when the run's `[budget] seconds` are over."""

    def on_train_begin(self, logs: object = None) -> None:
        seconds = flare.get_config().get("budget", {}).get("seconds")  # NVFlare has none
        self.until = monotonic() + (seconds or inf)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.model.stop_training = monotonic() >= self.until


def main() -> None:
    flare.init()
    site = flare.get_site_name()
    digits = load_digits()
    images, labels = (digits.data / 16).astype("float32"), digits.target
    mine = slice(TEST + int(site[-1]) - 1, None, SITES)  # site-2 takes the second of every three
    test = images[:TEST], labels[:TEST]

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
        _, received = model.evaluate(*test, verbose=0)

        model.fit(
            images[mine],
            labels[mine],
            batch_size=16,
            epochs=EPOCHS,
            callbacks=[OutOfTime()],
            verbose=0,
        )

        loss, trained = model.evaluate(*test, verbose=0)
        print(
            f"{site}, round {input_model.current_round + 1} of {input_model.total_rounds}: "
            f"accuracy {received:.1%} received, {trained:.1%} trained",
            flush=True,
        )
        flare.send(
            flare.FLModel(
                params=weights(model),
                metrics={"accuracy": trained, "loss": loss, "received_accuracy": received},
                meta={"num_samples": len(labels[mine])},
            )
        )


if __name__ == "__main__":
    main()
