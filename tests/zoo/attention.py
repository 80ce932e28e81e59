"""Attention layers and transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.model import Inputs, ZooModel, keras_file, keras_files, token_ids


def self_attention() -> Any:
    import keras
    from keras import layers

    x = keras.Input((None, 16), name="x")
    y = layers.MultiHeadAttention(4, 4, dropout=0.1)(x, x)
    return keras.Model(x, layers.LayerNormalization()(layers.Add()([x, y])))


def causal_attention() -> Any:
    import keras
    from keras import layers

    x = keras.Input((7, 12), name="x")
    return keras.Model(x, layers.MultiHeadAttention(3, 4, value_dim=5)(x, x, use_causal_mask=True))


def cross_attention() -> Any:
    import keras
    from keras import layers

    query, memory = keras.Input((5, 12), name="query"), keras.Input((9, 8), name="memory")
    y, scores = layers.MultiHeadAttention(2, 6)(query, memory, return_attention_scores=True)
    return keras.Model([query, memory], {"attended": y, "scores": scores})


def grouped_query_attention() -> Any:
    import keras
    from keras import layers

    x = keras.Input((6, 16), name="x")
    y = layers.GroupQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)(x, x)
    return keras.Model(x, y)


def dot_and_additive_attention() -> Any:
    import keras
    from keras import layers

    query, value = keras.Input((5, 8), name="query"), keras.Input((6, 8), name="value")
    dot = layers.Attention(use_scale=True)([query, value])
    additive = layers.AdditiveAttention()([query, value])
    return keras.Model([query, value], layers.Concatenate()([dot, additive]))


def _encoder(y: Any, heads: int, width: int, mask: Any = None, *, before: bool = False) -> Any:
    """A block of a transformer, with its norms after the sums, or before."""
    from keras import layers

    inner = layers.LayerNormalization(epsilon=1e-6)(y) if before else y
    inner = layers.MultiHeadAttention(heads, width // heads)(inner, inner, attention_mask=mask)
    y = layers.Add()([y, layers.Dropout(0.1)(inner)])
    y = y if before else layers.LayerNormalization(epsilon=1e-6)(y)
    inner = layers.LayerNormalization(epsilon=1e-6)(y) if before else y
    inner = layers.Dense(width)(layers.Dense(2 * width, activation="gelu")(inner))
    y = layers.Add()([y, inner])
    return y if before else layers.LayerNormalization(epsilon=1e-6)(y)


def bert() -> Any:
    """Token, position and segment embeddings, an attention mask, a pooler."""
    import keras
    from keras import layers, ops

    ids = keras.Input((12,), dtype="int32", name="input_ids")
    segments = keras.Input((12,), dtype="int32", name="token_type_ids")
    mask = keras.Input((12,), dtype="int32", name="attention_mask")
    positions = layers.Embedding(12, 16)(ops.arange(12))
    y = layers.Add()([layers.Embedding(50, 16)(ids), layers.Embedding(2, 16)(segments)])
    y = layers.LayerNormalization(epsilon=1e-12)(y + positions)
    attended = ops.expand_dims(mask, 1)
    for _ in range(2):
        y = _encoder(y, 4, 16, attended)
    pooled = layers.Dense(16, activation="tanh", name="pooled")(y[:, 0])
    return keras.Model([ids, segments, mask], {"sequence": y, "pooled": pooled})


def gpt() -> Any:
    """A causal decoder of free length whose last product is with the embedding's own table."""
    import keras
    from keras import layers, ops

    ids = keras.Input((None,), dtype="int32", name="ids")
    table = layers.ReversibleEmbedding(40, 16)
    positions = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    y = table(ids) + layers.Embedding(32, 16)(positions)
    for _ in range(2):
        inner = layers.LayerNormalization()(y)
        inner = layers.MultiHeadAttention(4, 4)(inner, inner, use_causal_mask=True)
        y = layers.Add()([y, inner])
        inner = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(y))
        y = layers.Add()([y, layers.Dense(16)(inner)])
    return keras.Model(ids, table(layers.LayerNormalization()(y), reverse=True))


def vision_transformer() -> Any:
    import keras
    from keras import layers

    x = keras.Input((16, 16, 3), name="image")
    y = layers.Reshape((16, 24))(layers.Conv2D(24, 4, strides=4)(x))
    y = y + layers.Embedding(16, 24)(keras.ops.arange(16))
    for _ in range(2):
        y = _encoder(y, 4, 24, before=True)
    y = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(y))
    return keras.Model(x, layers.Dense(5, activation="softmax", name="kind")(y))


def encoder_decoder() -> Any:
    """Encoder, causal decoder and cross attention, with masks from padding ids."""
    import keras
    from keras import layers

    source = keras.Input((8,), dtype="int32", name="source")
    target = keras.Input((6,), dtype="int32", name="target")
    memory = _encoder(layers.Embedding(30, 16, mask_zero=True)(source), 2, 16)
    y = layers.Embedding(30, 16, mask_zero=True)(target)
    y = layers.LayerNormalization()(
        layers.Add()([y, layers.MultiHeadAttention(2, 8)(y, y, use_causal_mask=True)])
    )
    y = layers.LayerNormalization()(layers.Add()([y, layers.MultiHeadAttention(2, 8)(y, memory)]))
    return keras.Model([source, target], layers.Dense(30, activation="softmax", name="next")(y))


def _bert_inputs(rng: np.random.Generator, count: int) -> Inputs:
    lengths = rng.integers(2, 13, count)
    return {
        "input_ids": rng.integers(0, 50, (count, 12)).astype(np.int32),
        "token_type_ids": rng.integers(0, 2, (count, 12)).astype(np.int32),
        "attention_mask": (np.arange(12) < lengths[:, None]).astype(np.int32),
    }


MODELS: tuple[ZooModel, ...] = (
    *keras_files(
        "attention",
        (
            self_attention,
            causal_attention,
            cross_attention,
            grouped_query_attention,
            dot_and_additive_attention,
            vision_transformer,
        ),
    ),
    keras_file("attention", bert, samples=_bert_inputs),
    keras_file("attention", gpt, samples=token_ids(40, ids=9)),
    keras_file("attention", encoder_decoder, samples=token_ids(30, source=8, target=6)),
)
