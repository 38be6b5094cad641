"""NVFlare's scripts, and what each is run with."""

from __future__ import annotations

from dataclasses import dataclass

JOBS = "tests/integration_test/data/jobs"
HELLO = "examples/hello-world"
ADVANCED = "examples/advanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script.

    Attributes:
        folder: in a clone of NVFlare.
        trainer: the script with its arguments, or the command that starts it.
        initial: the run file's `[weights] initial`; "first:first" if `first` makes them.
        first: a module that makes the first weights.
        prepare: commands that make its data, run in the copied folder before it.
        more: the end of its run file.
        own: lines that change in this script alone.
        environment: variables for it; "{folder}" is the copied folder.
        needs: packages.
    """

    name: str
    folder: str
    trainer: str
    initial: str = "first:first"
    first: str = ""
    prepare: tuple[str, ...] = ()
    more: str = ""
    own: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()


_ARRAY = """
import numpy as np

def first():
    return {"numpy_key": np.arange(1, 10, dtype=np.float32).reshape(3, 3)}
"""

NUMPY = tuple(
    Script(name=name, folder=folder, trainer=trainer, first=_ARRAY)
    for name, folder, trainer in (
        ("hello-numpy", f"{HELLO}/hello-numpy", "client.py"),
        ("hello-numpy, difference", f"{HELLO}/hello-numpy", "client.py --update_type diff"),
        ("np_loop, full", f"{JOBS}/np_loop/app_client/custom", "train_full.py"),
        ("np_loop, difference", f"{JOBS}/np_loop/app_client/custom", "train_diff.py"),
        ("np_loop, loop", f"{JOBS}/np_loop/app_client/custom", "train_loop.py"),
        ("np_metrics", f"{JOBS}/np_metrics/app/custom", "train_metrics.py"),
    )
)

_SYNTHETIC = "--synthetic_data --train_size 64 --test_size 32 --epochs 1"

TORCH = (
    Script(
        name="hello-pt",
        folder=f"{HELLO}/hello-pt",
        trainer=f"client.py {_SYNTHETIC}",
        initial="model:SimpleNetwork",
        needs=("torchvision",),
    ),
    Script(
        name="pt_client_api_cyclic",
        folder=f"{JOBS}/pt_client_api_cyclic/app/custom",
        trainer="cifar10_fl.py",
        initial="net:Net",
        needs=("torchvision",),
    ),
    Script(
        name="decorator",
        folder=f"{JOBS}/decorator/app/custom",
        trainer="cifar10_structured_fl.py",
        initial="net:Net",
        needs=("torchvision",),
    ),
)

_KERAS = """
import keras
from model import Net

def first():
    keras.utils.set_random_seed(7)
    net = Net()
    net.build(input_shape=(None, 28, 28))
    return {layer.name: layer.get_weights() for layer in net.layers}
"""

KERAS = tuple(
    Script(
        name=name,
        folder=f"{HELLO}/{name}",
        trainer="client.py",
        first=_KERAS,
        needs=("tensorflow",),
    )
    for name in ("hello-cyclic", "hello-tf")
)

LIGHTNING = (
    Script(
        name="hello-lightning",
        folder=f"{HELLO}/hello-lightning",
        trainer="client.py --synthetic_data",
        initial="model:LitNet",
        own=(
            (
                "trainer = Trainer(max_epochs=1, devices=None, logger=flare_logger)",
                "trainer = Trainer(max_epochs=1, devices=1, logger=flare_logger)",
            ),
        ),
        needs=("pytorch_lightning", "torchvision"),
    ),
    Script(
        name="multi-gpu lightning",
        folder=f"{ADVANCED}/multi-gpu/lightning",
        trainer="python client.py",
        initial="model:LitNet",
        own=(
            (
                "trainer = Trainer(max_epochs=1, devices=None, logger=flare_logger)",
                "trainer = Trainer(max_epochs=1, devices=1, logger=flare_logger)",
            ),
        ),
        needs=("pytorch_lightning", "torchvision"),
    ),
)

_TRACKING = f"{ADVANCED}/experiment-tracking"
_PLAIN = "client.py --local_epochs 1 --model_path cifar_net.pth"

TRACKERS = (
    *(
        Script(
            name=name,
            folder=f"{_TRACKING}/{folder}",
            trainer=_PLAIN,
            initial=initial,
            needs=("torchvision",),
        )
        for name, folder, initial in (
            ("tensorboard", "tensorboard", "model:SimpleNetwork"),
            ("wandb", "wandb", "model:Net"),
            ("mlflow", "mlflow/hello-pt-mlflow", "model:SimpleNetwork"),
            ("mlflow, at the client", "mlflow/hello-pt-mlflow-client", "model:SimpleNetwork"),
        )
    ),
    Script(
        name="mlflow, lightning",
        folder=f"{_TRACKING}/mlflow/hello-lightning-mlflow",
        trainer="client.py",
        initial="model:LitNet",
        own=(
            (
                "trainer = Trainer(max_epochs=1, devices=None, logger=flare_logger)",
                "trainer = Trainer(max_epochs=1, devices=1, logger=flare_logger)",
            ),
        ),
        needs=("pytorch_lightning", "torchvision"),
    ),
)

TORCHRUN = (
    Script(
        name="torchrun_cpu",
        folder=f"{JOBS}/pt_client_api_torchrun_cpu/app/custom",
        trainer="torchrun --nproc_per_node=2 torchrun_client.py",
        initial="net:Net",
        needs=("torch",),
    ),
)

_LINEAR = """
import numpy as np

def first():
    return {"coef": np.zeros((1, 64)), "intercept": np.zeros(1)}
"""

_HYPERPARAMETERS = """
[params]
loss = "log_loss"
penalty = "l2"
fit_intercept = 1
learning_rate = "constant"
eta0 = 0.01
n_classes = 2
"""

SKLEARN = (
    Script(
        name="sklearn-linear",
        folder=f"{ADVANCED}/sklearn-linear",
        trainer="client.py --data_path higgs.csv --train_start 400 --train_end 1700"
        " --valid_start 0 --valid_end 400",
        first=_LINEAR,
        prepare=("python small_data.py higgs",),
        more=_HYPERPARAMETERS,
        own=(
            ("global_params = input_model.params", "global_params = input_model.meta"),
            (
                "local_model.coef_ = np.zeros((1, n_features))",
                'local_model.coef_ = input_model.params["coef"]',
            ),
            (
                "local_model.intercept_ = np.zeros((1,))",
                'local_model.intercept_ = input_model.params["intercept"]',
            ),
        ),
        needs=("sklearn", "pandas"),
    ),
)

_JAX = """
from model import create_initial_params, flatten_params

def first():
    return {"numpy_key": flatten_params(create_initial_params())}
"""

JAX = (
    Script(
        name="hello-jax",
        folder=f"{HELLO}/hello-jax",
        trainer="client.py --data_dir mnist --batch_size 16",
        first=_JAX,
        prepare=("python small_data.py npy",),
        needs=("jax", "flax", "optax"),
    ),
)

_DENSENET = """
import torch
from monai.networks.nets import densenet121

def first():
    return densenet121(spatial_dims=2, in_channels=1, out_channels=6)
"""

MONAI = (
    Script(
        name="MONAI mednist",
        folder=f"{ADVANCED}/monai/mednist",
        trainer="client.py",
        first=_DENSENET,
        prepare=("python small_data.py mednist",),
        environment=(("MONAI_DATA_DIRECTORY", "{folder}"),),
        needs=("monai", "ignite"),
    ),
)

_ADAPTERS = """
from model import QwenLoRAModel

def first():
    return QwenLoRAModel("tiny").state_dict()
"""

_TUTORIALS = (
    "examples/tutorials/self-paced-training/part-4_advanced_federated_learning"
    "/chapter-8_federated_LLM_training"
)
_TUTORIAL = (
    "client.py --model_name_or_path tiny --data_path_train dolly/training.jsonl"
    " --data_path_valid dolly/validation.jsonl --output_path out"
)
_SFT = """
from model import CausalLMModel

def first():
    return CausalLMModel("tiny").state_dict()
"""
_PEFT = """
from model import CausalLMPEFTModel
from peft import get_peft_model_state_dict

def first():
    adapters = get_peft_model_state_dict(CausalLMPEFTModel("tiny").model)
    return {f"model.{name}": value for name, value in adapters.items()}
"""

_TRANSFORMERS_5 = (("warmup_ratio=0.03,", ""),)

LANGUAGE = (
    Script(
        name="hello-huggingface",
        folder=f"{HELLO}/hello-huggingface",
        trainer="client.py --model_name_or_path tiny --data_root data",
        first=_ADAPTERS,
        prepare=(
            "python small_data.py llama",
            "python prepare_data.py --data_root data",
        ),
        needs=("trl", "peft", "datasets"),
    ),
    Script(
        name="tutorial, SFT",
        folder=f"{_TUTORIALS}/08.2_llm_sft",
        trainer=f"{_TUTORIAL} --train_mode SFT",
        first=_SFT,
        prepare=("python small_data.py llama dolly",),
        own=_TRANSFORMERS_5,
        needs=("trl", "peft", "datasets"),
    ),
    Script(
        name="tutorial, PEFT",
        folder=f"{_TUTORIALS}/08.3_llm_peft",
        trainer=f"{_TUTORIAL} --train_mode PEFT",
        first=_PEFT,
        prepare=("python small_data.py llama dolly",),
        own=(
            *_TRANSFORMERS_5,
            ("if not train_mode:", "if True:"),
            (
                "torch.save(global_model, resume_model_file_path)",
                "trainer.model.save_pretrained(resume_from_checkpoint_folder)",
            ),
        ),
        needs=("trl", "peft", "datasets"),
    ),
)

SCRIPTS = (
    *NUMPY, *TORCH, *KERAS, *LIGHTNING, *LANGUAGE, *TORCHRUN, *SKLEARN, *TRACKERS, *JAX, *MONAI,
)  # fmt: skip
