"""Writes OCI image layouts (image-spec 1.0, image-layout.md)."""

import concurrent.futures
import hashlib
import json
import os
import shutil
import time

from . import layer_tar

MEDIA = "application/vnd.oci.image."
RECIPE = "skiff-recipe"  # a file beside index.json that names what the layout was made of


def is_current(out, image):
    try:
        return (out / image.name / RECIPE).read_text() == image.recipe()
    except FileNotFoundError:
        return False


def write(out, image, shop):
    """Leaves out/<name> whole, or as it was."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # Trees are built bottom-up one at a time; packing one goes on beside building the next.
        packing = [pool.submit(layer_tar.pack, shop.tree(image.layers[: n + 1]))
                   for n in range(len(image.layers))]
        blobs = [future.result() for future in packing]

    draft = out / f".{image.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "blobs/sha256").mkdir(parents=True)

    def put(data, kind):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        (draft / "blobs" / digest.replace(":", "/")).write_bytes(data)
        return {"mediaType": MEDIA + kind, "digest": digest, "size": len(data)}

    layers = []
    for blob in blobs:
        shutil.copy(blob.path, draft / "blobs" / blob.digest.replace(":", "/"))
        layers.append({"mediaType": MEDIA + "layer.v1.tar+gzip", "digest": blob.digest,
                       "size": blob.path.stat().st_size})

    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(layer_tar.EPOCH))
    platform = {"architecture": "amd64", "os": "linux"}
    config = put(as_json({
        "created": created, **platform, "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in blobs]},
        "history": [{"created": created, "created_by": layer.name} for layer in image.layers],
    }), "config.v1+json")
    manifest = put(as_json({"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json",
                            "config": config, "layers": layers}), "manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [{
        **manifest, "platform": platform,
        "annotations": {"org.opencontainers.image.ref.name": image.tag}}]}
    (draft / "index.json").write_bytes(as_json(index))
    (draft / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    (draft / RECIPE).write_text(image.recipe())

    shutil.rmtree(out / image.name, ignore_errors=True)
    draft.rename(out / image.name)


def as_json(value):
    return json.dumps(value, separators=(",", ":")).encode()
