"""A model of each family of the zoo converts with parity; `tests/benchmarks/conversion` runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from keras_models import convert
from zoo import ZOO

from optimizer.convert.detect import detect
from optimizer.convert.scan import scan

REPRESENTATIVES = (
    "detection_head",
    "fake_quantized_mlp",
    "tf1_savedmodel_cnn",
    "tf1_frozen_while_loop",
    "tflite_cnn_depthwise_int8",
    "cnn_odd_padding",
    "mlp_mixture_of_experts",
    "recommender",
    "einsum_int8",
    "category_encoding",
    "cross_attention",
    "unet",
    "cnn_mixed_float16",
    "group_norm",
    "gru_masked",
)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_model_of_the_zoo_computes_the_same_as_onnx(name: str, tmp_path: Path) -> None:
    model = ZOO[name]
    upload, samples = model.build(tmp_path), model.write_samples(tmp_path)
    assert detect(upload) == model.format
    scan(upload, model.format)
    conversion, _ = convert(upload, model.format, tmp_path, signature=model.signature, samples=samples)
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    assert conversion.parity.inputs_from == ("generated" if samples is None else "samples")
    for output in conversion.parity.outputs:
        if output.measure == "agreement":
            assert output.value >= output.tolerance
        else:
            assert output.value <= output.tolerance
