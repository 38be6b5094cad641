"""A Client API script as NVFlare users write it; only its import names Tasuki."""

import numpy as np

import tasuki.flare as flare


def make() -> dict[str, np.ndarray]:
    return {"w": np.zeros((8, 8), "float32")}


def main() -> None:
    flare.init()
    site = flare.system_info()["site_name"]
    while flare.is_running():
        input_model = flare.receive()
        if input_model is None:
            break
        params = {name: np.asarray(value) for name, value in input_model.params.items()}
        params["w"] = params["w"] + np.random.default_rng(int(site[-1])).normal(size=(8, 8))
        output = flare.FLModel(
            params={"w": params["w"].astype("float32")},
            metrics={"accuracy": float(np.abs(params["w"]).mean())},
            meta={"NUM_STEPS_CURRENT_ROUND": 4},
        )
        print(f"{site}: round {input_model.current_round} of {input_model.total_rounds}")
        flare.send(output)


if __name__ == "__main__":
    main()
