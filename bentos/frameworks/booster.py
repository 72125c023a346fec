"""What the boosters share: one table in; a value, or probabilities and the label that is the largest of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bentos.contract import Arrays, Signature


def outputs(signature: Signature, predicted: Any) -> Arrays:
    """(n,) or (n, columns) as a booster predicts them, as the signature's outputs."""
    values = np.asarray(predicted)
    if not {"label", "probabilities"} & {t.name for t in signature.outputs}:
        (tensor,) = signature.outputs
        return {tensor.name: values.astype(tensor.dtype).reshape(len(values), *tensor.sizes[1:])}
    if values.ndim == 1:  # of two classes, the second's probability
        values = np.stack([1 - values, values], 1)
    by_name = {"label": values.argmax(1), "probabilities": values}
    return {t.name: by_name[t.name].astype(t.dtype) for t in signature.outputs}
