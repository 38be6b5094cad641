"""PUT YOUR OWN MODEL HERE, say from_pretrained(...): the run's first weights are all of its own.

To fine-tune LoRA adapters alone, see examples/huggingface_lora of Tasuki.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 64


def make() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
