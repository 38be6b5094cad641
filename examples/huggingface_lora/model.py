"""A tiny Llama, made from a config: nothing is downloaded. Only its LoRA adapters are trained."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG = LlamaConfig(
    vocab_size=256,  # the tokens are bytes
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=0,
    eos_token_id=0,
)
LORA = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def model() -> PeftModel:
    """The same frozen base at every site: with a pretrained one, its files are what is the same."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(CONFIG)
    return get_peft_model(base, LORA)


def adapter() -> dict[str, Tensor]:
    """What travels, and so the run's first weights."""
    return get_peft_model_state_dict(model())
