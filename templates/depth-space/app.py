"""Pictures of one place in, their depth out: a Gradio app for a ZeroGPU Space.

What keeps it working call after call:
- `spaces` is imported before anything that may touch CUDA.
- The model is loaded once, when the Space starts; spaces moves it to the GPU in the process that
  has one.
- `gpu` brings results back on the CPU, as NumPy arrays, whatever they are made of.
"""

import spaces  # noqa: F401, I001  (first: see above)

import os
import tempfile

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from zerogpu import gpu, once

MODEL = os.environ.get("DA3_MODEL", "depth-anything/DA3-BASE")
MOST_VIEWS = 16
PATCH = 14  # pixels; a side shorter than half of it vanishes


@once(inherit=True)
def model():
    import torch
    from depth_anything_3.api import DepthAnything3

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return DepthAnything3.from_pretrained(MODEL, strict=True).eval().to(device)


@gpu(duration=60, numpy=True)
def solve(images, process_res):
    """Pictures (RGB uint8, height × width × 3) to upstream's Prediction, all of it NumPy."""
    return model().inference(images, process_res=process_res, export_kwargs={})


def show(files, process_res):
    """What the button does: a picture of each view's depth, near is bright, and the arrays."""
    if not files:
        raise gr.Error("Choose a picture first.")
    if len(files) > MOST_VIEWS:
        raise gr.Error(f"At most {MOST_VIEWS} pictures.")
    images = [read(path, int(process_res)) for path in files]
    found = solve(images, int(process_res))
    names = ("depth", "conf", "extrinsics", "intrinsics")
    arrays = {name: getattr(found, name) for name in names}
    file = os.path.join(tempfile.mkdtemp(), "depth.npz")
    np.savez_compressed(file, **{k: v for k, v in arrays.items() if v is not None})
    return [picture(depth) for depth in found.depth], file


def read(path, process_res):
    """Upright RGB. gr.Error for what is no picture, or too narrow for the model."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:
        raise gr.Error(f"{os.path.basename(path)} is not a picture that can be read.") from error
    if min(image.size) * process_res / max(image.size) < PATCH / 2:
        raise gr.Error(f"{os.path.basename(path)} is too narrow.")
    return np.asarray(image)


def picture(depth):
    """One view's depth as grey, 1 / depth between its 2nd and 98th percentile."""
    near = 1 / np.maximum(depth, 1e-6)
    low, high = np.percentile(near, (2, 98))
    return (255 * np.clip((near - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)


model()  # here, and not at the first click

with gr.Blocks(title="Depth Anything 3") as demo:
    gr.Markdown("# Depth Anything 3\nPictures of one place are solved together.")
    with gr.Row():
        with gr.Column():
            chosen = gr.File(label="Pictures", file_count="multiple", file_types=["image"])
            resolution = gr.Slider(252, 756, 504, step=14, label="Longest side, pixels")
            button = gr.Button("Solve", variant="primary")
        with gr.Column():
            gallery = gr.Gallery(label="Depth")
            download = gr.File(label="Arrays (npz)")
    button.click(show, [chosen, resolution], [gallery, download], api_name="solve")

if __name__ == "__main__":
    demo.launch()
