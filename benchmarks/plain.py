"""What anybody would write: load and hash a local file, run the same forwards. Compare inference.py.

python benchmarks/plain.py t5|vit FOLDER      (FOLDER holds config.json and model.safetensors)
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import torch

WARMUP, ITERATIONS = 3, 20


def load_t5(folder):
    from transformers import T5ForConditionalGeneration

    model = T5ForConditionalGeneration.from_pretrained(folder).eval()
    ids = torch.tensor([[13959, 1566, 12, 2968, 10, 571, 625, 33, 25, 58, 1]])
    start = torch.tensor([[0]])
    teacher = torch.tensor([[0, 571, 625, 33, 25, 58, 1566, 2968]])

    def forward():
        return model(input_ids=ids, decoder_input_ids=start, use_cache=False).logits

    def further():
        taught = model(input_ids=ids, decoder_input_ids=teacher, use_cache=False).logits
        greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": 16}
        scored = {"return_dict_in_generate": True, "output_scores": True}
        generated = model.generate(input_ids=ids, **greedy, **scored)
        return taught, generated.sequences, torch.stack(generated.scores, dim=1)

    return forward, further


def load_vit(folder):
    import timm
    from PIL import Image
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model("vit_tiny_patch16_224").eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    data = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    samples = Path(__file__).resolve().parent.parent / "kit" / "models" / "samples"
    photo = Image.open(samples / "photo.png").convert("RGB")
    pixels = timm.data.create_transform(**data)(photo).unsqueeze(0)
    return lambda: model(pixels), lambda: ()


def time_once(forward):
    begin = time.perf_counter()
    forward()
    return (time.perf_counter() - begin) * 1e3


def main():
    # As kit/models/families/torchvision_ops.py: without it neither library can be imported beside a
    # CPU torch.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for op in ("nms", "qnms"):
        library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    folder = Path(sys.argv[2])
    with (folder / "model.safetensors").open("rb") as weights:
        print("sha256", hashlib.file_digest(weights, "sha256").hexdigest())
    forward, further = {"t5": load_t5, "vit": load_vit}[sys.argv[1]](folder)
    with torch.inference_mode():
        outputs = (forward(), *further())
        repeated = (forward(), *further())
    print("repeatable", all(torch.equal(a, b) for a, b in zip(outputs, repeated, strict=True)))
    with torch.inference_mode():
        times = [time_once(forward) for _ in range(WARMUP + ITERATIONS)]
    print("mean_ms", sum(times[WARMUP:]) / ITERATIONS)
    torch.save(outputs, folder / "output.pt")


if __name__ == "__main__":
    main()
