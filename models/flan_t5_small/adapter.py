"""google/flan-t5-small: an instruction-tuned 77 M T5 encoder-decoder."""

from kit.models.adapter import ModelInfo
from kit.models.families.seq2seq_text import Seq2SeqText


class FlanT5Small(Seq2SeqText):
    info = ModelInfo(
        name="google/flan-t5-small",
        hub_id="google/flan-t5-small",
        revision="0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
        vendor="Google",
        task="text generation / instruction model",
        pipeline_tag="text2text-generation",
        library="transformers",
        license="apache-2.0",
        architecture="T5ForConditionalGeneration",
        parameters=76_961_152,
        tensors=190,
        published={
            "config.json": "439aa0fecf5a5546a1def68b1fc45e538e2c94528ce805378daf091e2bf6e4de",
            "generation_config.json": "f5a1c7e2be8092018d8835128987edf0111637dd98e90599cc80310fef75d95a",
            "model.safetensors": "495fa51e204676f1a857a9fc13c4c89f3f5ba9f480b898cebca02add25e6d749",
            "spiece.model": "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86",
            "tokenizer.json": "fe2ebbbbde2985be723e0ce18217853e4020c5e9d35bd07be2c27ab9d3ead57a",
            "tokenizer_config.json": "fcde0f79bffda3688119c94330866a8fbf8de20ae65a8c492c9bd47c704655a0",
            "special_tokens_map.json": "5c87151ef0f72a99d1f766a4c418bd2a1f90aaa30a8e22fe5eca9641daebb64f",
        },
        companions=("tokenizer.json",),
    )
    # lm_head is a tensor of its own in this checkpoint, whatever transformers 5's T5Config says.
    tied = {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }
    default_text = "translate English to German: How old are you?"
    default_ids = (13959, 1566, 12, 2968, 10, 571, 625, 33, 25, 58, 1)
    decoder_ids = (0,)
    teacher_ids = (0, 571, 625, 33, 25, 58, 1566, 2968)


ADAPTER = FlanT5Small
