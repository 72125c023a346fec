"""MiniLM: a BERT of six layers, the mean of its tokens, scaled to length 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

PADDING = 0
MASKED = -1e4  # added to scores: their softmax is 0, and a row of padding alone is still one of numbers


class Network(nn.Module):
    """(n, tokens) int64, padded with 0 or not → (n, 384) float32"""

    def __init__(self, vocabulary: int = 30522, width: int = 384, inner: int = 1536, n_layers: int = 6) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(512, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, inner) for _ in range(n_layers))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        present = (ids != PADDING).to(torch.float32)  # (n, tokens)
        mask = (1 - present)[:, None, None, :] * MASKED  # (n, 1, 1, tokens)
        hidden = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])  # (n, tokens, width)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        weights = present[:, :, None]
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return F.normalize(mean, dim=1)


class Layer(nn.Module):
    """Attention, and a network of two layers on each token; (n, tokens, width) in and out."""

    def __init__(self, width: int, inner: int, n_heads: int = 12) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.attended_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, length, width = hidden.shape
        query, key, value = (
            part(hidden).view(n, length, self.n_heads, width // self.n_heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (n, heads, tokens, width / heads)
        mixed = mixed.transpose(1, 2).reshape(n, length, width)
        hidden = self.attended_norm(hidden + self.attended(mixed))
        return self.norm(hidden + self.outer(F.gelu(self.inner(hidden))))
