"""What the user reads when an operator has no converter: where it is, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, save_keras
from op_models import save_function

from optimizer.convert.scan.savedmodel import read_savedmodel
from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.convert.triage.numeric_start import first_numbers
from optimizer.convert.triage.unconvertible import find_unconvertible
from optimizer.convert.triage.wiring import read_graph
from optimizer.convert.triage.workarounds import comes_before_model, workarounds
from optimizer.errors import UnsupportedModelError
from optimizer.runtime import open_session


def refusal(upload: Path, signature: str = "serving_default") -> UnsupportedModelError:
    with pytest.raises(UnsupportedModelError) as caught:
        convert_savedmodel(upload, signature, upload.with_name("model.onnx"))
    assert "make_sure" not in caught.value.message
    return caught.value


def save_keras_endpoint(model: Any, folder: Path, inputs: list[Any]) -> Path:
    import keras

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda *x: model(*x, training=False), inputs)
    archive.write_out(str(folder / "saved"), verbose=False)
    return folder / "saved"


def hashing_model() -> Any:
    import keras

    ids = keras.Input((1,), dtype="string", name="ids")
    rows = keras.layers.Embedding(20, 3)(keras.layers.Hashing(20, name="buckets")(ids))
    return keras.Model(ids, keras.layers.Dense(2)(keras.layers.Flatten()(rows)))


def test_an_operator_is_named_with_its_node_its_layer_and_its_surroundings(tmp_path: Path) -> None:
    import keras

    spec = [keras.InputSpec(shape=(None, 1), dtype="string", name="ids")]
    error = refusal(save_keras_endpoint(hashing_model(), tmp_path, spec))
    first, line, numbers = error.message.splitlines()
    assert first == "The model cannot be written as ONNX: no converter for StringToHashBucketFast."
    assert re.fullmatch(
        r"- StringToHashBucketFast \(node \S+/buckets\w*/hash, layer buckets\): "
        r"ids:string\[\?, 1\] -> StringToHashBucketFast -> Less -> SelectV2",
        line,
    )
    assert re.match(r"The first numbers after these are \S+/hash:int64: ", numbers)
    assert "texts" in error.hint


def test_a_text_layer_is_cut_behind_its_last_step(tmp_path: Path) -> None:
    import keras

    words = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=4, name="words")
    words.adapt(["a b c", "d e"])
    text = keras.Input((), dtype="string", name="text")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 3)(words(text)))
    spec = [keras.InputSpec(shape=(None,), dtype="string", name="text")]
    error = refusal(save_keras_endpoint(keras.Model(text, pooled), tmp_path, spec))
    assert "layer words): text:string[?] -> StringLower -> StaticRegexReplace" in error.message
    # One tensor, not the four that the splitting and the lookup give.
    assert re.search(r"after these are \S+/RaggedTensorToTensor:int64: from", error.message)


def test_the_lines_for_keras_save_a_model_that_converts(tmp_path: Path) -> None:
    import keras

    model = hashing_model()
    with pytest.raises(UnsupportedModelError) as caught:
        convert(save_keras(model, tmp_path), "keras", tmp_path)
    said, rest, save = caught.value.hint.splitlines()[-3:]
    assert "without the layer buckets" in said
    scope: dict[str, Any] = {"keras": keras, "model": model}
    exec(rest.strip(), scope)  # what the user would paste
    exec(save.strip().replace("rest.keras", str(tmp_path / "rest.keras")), scope)
    conversion, _ = convert(tmp_path / "rest.keras", "keras", tmp_path)
    assert conversion.parity is not None
    assert [spec.dtype for spec in conversion.inputs] == ["int64"]


def written_twice(x: Any) -> Any:
    """A loop that writes two elements of its list in each turn."""
    import tensorflow as tf

    def turn(place: Any, found: Any) -> Any:
        return place + 2, found.write(place, x[:, place]).write(place + 1, x[:, place])

    found = tf.TensorArray(tf.float32, 4, element_shape=[None, 3])
    return tf.while_loop(lambda place, _: place < 3, turn, (0, found))[1].stack()


def function(kind: str) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    import tensorflow as tf

    floats = {"x": np.ones((2, 3, 3), np.float32)}
    if kind == "linear algebra":
        return (lambda x: tf.linalg.svd(x, compute_uv=False)), floats, {}
    if kind == "random numbers":
        return (lambda x: x + tf.random.stateless_uniform(tf.shape(x), [1, 2])), floats, {}
    if kind == "image files":
        return (lambda x: tf.io.decode_jpeg(x, 3)[None]), {"x": np.array(b"", object)}, {"x": ()}
    if kind == "serialized records":
        features = {"a": tf.io.FixedLenFeature([2], tf.float32)}
        return (lambda x: tf.io.parse_example(x, features)["a"] * 2.0), {"x": np.array([b""], object)}, {}
    if kind == "texts in a loop":
        hashed = tf.strings.to_hash_bucket_fast

        def count(x: Any) -> Any:
            buckets = tf.map_fn(lambda each: hashed(each, 9), x, fn_output_signature=tf.int64)
            return buckets + 1

        return count, {"x": np.array([b""], object)}, {}
    if kind == "loops":
        return written_twice, floats, {}
    return (lambda x: tf.bitcast(x, tf.int32)), floats, {}


KINDS = {
    "linear algebra": (r"Svd \(node \S*Svd\): x:float32\[\?, 3, 3\] -> Svd -> output", "Linear algebra"),
    "random numbers": (r"StatelessRandomUniformV2 \(node \S+\): x:float32\S* 3, 3\] -> ", "training=False"),
    "image files": (r"DecodeJpeg \(node \S+\): x:string\[\] -> DecodeJpeg", "decode them outside"),
    "serialized records": (r"x:string\[\?\] -> ParseExampleV2 -> Mul -> output", "takes tensors"),
    "texts in a loop": (r"-> StringToHashBucketFast -> ", "texts"),
    "loops": (r"While \(node \S*while\): .*; it does not write one element of each list", "TensorArray"),
    "bits": (r"Bitcast \(node \S*Bitcast\): .*; the bits of a floating-point number", "replace them"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_has_its_own_way_round(kind: str, tmp_path: Path) -> None:
    made, inputs, shapes = function(kind)
    error = refusal(save_function(made, tmp_path, inputs, shapes))
    pattern, way = KINDS[kind]
    assert re.search(pattern, error.message)
    assert way in error.hint


def test_a_loop_over_texts_is_left_out_as_a_whole(tmp_path: Path) -> None:
    made, inputs, shapes = function("texts in a loop")
    error = refusal(save_function(made, tmp_path, inputs, shapes))
    assert re.search(r"after these are \S*TensorListStack:int64: ", error.message)


def test_three_operators_are_shown_and_the_others_are_counted(tmp_path: Path) -> None:
    import tensorflow as tf

    def many(x: Any) -> Any:
        texts = tf.strings.regex_replace(tf.strings.as_string(x), "1", "2")
        joined = tf.strings.join([texts, texts])
        return tf.strings.to_hash_bucket_fast(tf.strings.substr(joined, 0, 1), 9)

    error = refusal(save_function(many, tmp_path, {"x": np.ones((2, 3), np.float32)}))
    assert error.message.count("\n- ") == 3
    assert re.search(r"and 1 more \(\w+\)", error.message)


def test_two_nodes_of_one_operator_are_one_line(tmp_path: Path) -> None:
    import tensorflow as tf

    def twice(x: Any) -> Any:
        return tf.linalg.svd(x, compute_uv=False) + tf.linalg.svd(x + 1.0, compute_uv=False)

    error = refusal(save_function(twice, tmp_path, {"x": np.ones((2, 3, 3), np.float32)}))
    assert error.message.count("Svd (node") == 1
    assert "and one more node" in error.message


def save_rest(model: Path, cut: tuple[str, ...], output: str, folder: Path) -> tuple[Path, Any]:
    """Save what a TensorFlow 1 model computes from some tensors on; gives the first part too."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    serve = loaded.signatures["serving_default"]
    tensors = [serve.graph.get_tensor_by_name(name) for name in cut]
    end = serve.graph.get_tensor_by_name(output)
    rest = serve.prune(tensors, [end])
    specs = [tf.TensorSpec(t.shape, t.dtype, name=f"part_{n}") for n, t in enumerate(tensors)]
    module = tf.Module()
    module.weights = list(loaded.variables)
    module.serve = tf.function(lambda *parts: {"y": rest(*parts)[0]}, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(folder / "rest"), signatures=module.serve)
    return folder / "rest", serve.prune(serve.graph.get_tensor_by_name("Placeholder:0"), [*tensors, end])


def test_a_real_text_model_converts_from_the_named_numbers_on(
    real_model: Callable[[str], Path], tmp_path: Path
) -> None:
    import tensorflow as tf

    model = real_model("guesslang")
    error = refusal(model)
    assert "no converter for StringNGrams, StringSplit, StringToHashBucketFast." in error.message
    assert "layer dnn/input_from_feature_columns/input_layer/content_embedding_1" in error.message
    assert "-> GatherNd -> StringToHashBucketFast -> GreaterEqual" in error.message
    assert "content_embedding_1/lookup:int64[?]" in error.message
    nodes = re.findall(r"node (\S+?)[,)]", error.message)
    graph = read_savedmodel(model).meta_graphs[0]
    wiring = read_graph(graph.graph_def, ["head/predictions/probabilities:0"])
    same = [node.name for node in wiring.needed.values() if node.operator == "StringToHashBucketFast"]
    cut = first_numbers(wiring, {*nodes, *same})
    rest, first = save_rest(model, cut, "head/predictions/probabilities:0", tmp_path)
    session = open_session_of(convert_savedmodel(rest, "serving_default", tmp_path / "rest.onnx"), tmp_path)
    texts = tf.constant(["def f(x):\n    return x + 1\n", "int main() { return 0; }"])
    *parts, expected = (part.numpy() for part in first(texts))
    inputs = {f"part_{number}": part for number, part in enumerate(parts)}
    np.testing.assert_allclose(session.run(inputs)["y"], expected, atol=1e-5)


def open_session_of(proto: Any, folder: Path) -> Any:
    path = folder / "converted.onnx"
    path.write_bytes(proto.SerializeToString())
    return open_session(path)


def test_nothing_is_said_of_a_model_that_converts(plain: Path) -> None:
    assert find_unconvertible(plain, "serving_default") is None


def test_advice_is_given_once_a_family() -> None:
    both = workarounds(["StringSplit", "StringToHashBucketFast", "DecodeJpeg", "Svd"])
    assert [both.count(word) for word in ("Text:", "Image files:", "Linear algebra:")] == [1, 1, 1]
    assert comes_before_model("DecodePng")
    assert not comes_before_model("Svd")
    assert workarounds(["NoSuchThing"])
    assert "Complex numbers" in workarounds(["Imag"])
    assert "Complex numbers" not in workarounds(["ImageProjectiveTransformV3"])
