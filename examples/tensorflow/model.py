"""A small network for 8x8 grey images, in Keras."""

import keras
import numpy as np

Layers = dict[str, list[np.ndarray]]


def make() -> keras.Model:
    """Ten scores for one image; 4,810 parameters. The layers have names, so that runs do too."""
    return keras.Sequential(
        [
            keras.Input((64,), name="pixels"),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(10, name="scores"),
        ]
    )


def weights(model: keras.Model) -> Layers:
    """What travels: the arrays of each layer."""
    return {layer.name: layer.get_weights() for layer in model.layers}


def first() -> Layers:
    """The run's first weights."""
    keras.utils.set_random_seed(7)
    return weights(make())
