"""Training scenes, drawn once into arrays on disk by all cores and read as memory maps."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from lvlm_saliency.scenes.classes import CLASSES, COLOURS
from lvlm_saliency.scenes.draw import draw_scene, label_maps
from lvlm_saliency.scenes.world import generate_scenes
from training.build import IMAGE_SIZE, PATCH_SIZE

CELLS = IMAGE_SIZE // PATCH_SIZE
LABELS = 4  # class, colour, place of the instance, number
_CHUNK = 500


def shrink(picture: Image.Image) -> np.ndarray:
    """The picture as the processor sees it before normalising: uint8 [64, 64, 3]."""
    return np.array(picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def painted(folder: Path, n: int, seed: int, split: str, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [n, 64, 64, 3] and dense labels uint8 [n, 4, 64] (see `label_maps`).

    Drawn on the first call, at about 300 scenes per second and core, and cached in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{split}-{seed}-{n}"
    pictures_file, labels_file = stem.with_suffix(".pictures.npy"), stem.with_suffix(".labels.npy")
    if not labels_file.exists():
        pictures = np.lib.format.open_memmap(
            pictures_file, mode="w+", dtype=np.uint8, shape=(n, IMAGE_SIZE, IMAGE_SIZE, 3)
        )
        labels = np.zeros((n, LABELS, CELLS * CELLS), dtype=np.uint8)
        jobs = [(split, seed, start, min(_CHUNK, n - start)) for start in range(0, n, _CHUNK)]
        with get_context("spawn").Pool(workers) as pool:
            for start, some_pictures, some_labels in pool.imap_unordered(_paint, jobs):
                pictures[start : start + len(some_pictures)] = some_pictures
                labels[start : start + len(some_labels)] = some_labels
        pictures.flush()
        np.save(labels_file, labels)
    return np.load(pictures_file, mmap_mode="r"), np.load(labels_file)


def _paint(job: tuple[str, int, int, int]) -> tuple[int, np.ndarray, np.ndarray]:
    split, seed, start, count = job
    pictures = np.zeros((count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    labels = np.zeros((count, LABELS, CELLS * CELLS), dtype=np.uint8)
    for row, scene in enumerate(generate_scenes(count, seed, split, start=start)):
        pictures[row] = shrink(draw_scene(scene))
        labels[row] = label_maps(scene, list(CLASSES), list(COLOURS), CELLS).reshape(LABELS, -1)
    return start, pictures, labels
