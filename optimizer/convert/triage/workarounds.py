"""What a user can do about an operator that ONNX lacks, by the operator's family."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

_ELSE = (
    "Move these operators out of the model (into the code around it), or replace them by supported ones, "
    "and save it again."
)

# The first pattern that fits an operator counts, from its beginning; TFL_ stands before TFLite's.
_BY_FAMILY: tuple[tuple[str, str], ...] = (
    (
        r"Decode(Jpeg|Png|Bmp|Gif|Image|WebP|AndCropJpeg)|EncodeJpeg|EncodePng|ExtractJpegShape",
        "Image files: decode them outside of the model, and save a signature that takes the pixels.",
    ),
    (
        r"Parse(Single)?(Sequence)?Example|ParseTensor|DecodeProto|DecodeCSV|DecodeJSON|DecodeRaw"
        r"|DecodePaddedRaw|DecodeCompressed",
        "Serialized records: save a signature that takes tensors, like the one that Keras exports, not "
        "tf.train.Example.",
    ),
    (
        r"String|Static(Regex)|Regex|AsString|Substr|Unicode|UnsortedSegmentJoin|ReduceJoin|DecodeBase64"
        r"|EncodeBase64|Sentencepiece|.*Tokenize|NormalizeUTF8|CaseFold|TFL_.*(Tokenizer|Ngrams)",
        "Text: ONNX Runtime has no operators for it. Compute these steps where the texts are read (the same "
        "Keras layer or tf.data), and save the rest of the model, which takes numbers.",
    ),
    (
        r"Stateless(Random|Truncated|Multinomial|Shuffle|Sample|Parameterized)|Random|TruncatedNormal"
        r"|Multinomial|ParameterizedTruncatedNormal|StatefulRandom|StatefulUniform|StatefulStandard"
        r"|StatefulTruncated|RngReadAndSkip|RngSkip|TFL_(RANDOM|MULTINOMIAL)",
        "Random numbers: export the model for inference (training=False, without augmentation or sampling "
        "layers); where inference needs noise, make it an input.",
    ),
    (
        r"Sparse|SerializeSparse|DeserializeSparse|AddSparse|TakeManySparse",
        "Sparse tensors: make them dense before the model (tf.sparse.to_dense).",
    ),
    (
        r"Ragged",
        "Ragged tensors: pad them before the model (.to_tensor()), and mask the padding.",
    ),
    (
        r"_?Switch|Enter|Exit|NextIteration|Merge|LoopCond|While|If|Case|StatelessWhile|StatelessIf"
        r"|StatelessCase|RefSwitch|TFL_(WHILE|IF|CALL_ONCE)",
        "Loops and branches: save the model with TensorFlow 2's control flow, with tensors of one shape in "
        "every turn, and one element of each TensorArray written in every turn, under no condition. A "
        "recurrent layer with unroll=True has no loop.",
    ),
    (
        r"Assign|VarIsInitialized|Variable|Mutable|LookupTable(Insert|Import|Export|Remove|Size)|Stack|Queue"
        r"|Barrier|TensorArray|Resource|TFL_(READ_VARIABLE|ASSIGN_VARIABLE|VAR_HANDLE)|TFL_HASHTABLE",
        "State that the model writes: make it an input and an output, and keep it between two calls.",
    ),
    (
        r"Dataset|.*Dataset|Iterator|.*Iterator|AnonymousIterator",
        "Data pipelines: save a signature that takes the tensors themselves.",
    ),
    (
        r"PyFunc|EagerPyFunc|PyFuncStateless",
        "Python functions: write them with TensorFlow's operators.",
    ),
    (
        r"TPU|Collective|Xla|_Xla|Send|Recv|_Send|_Recv|ConfigureDistributed|CrossReplica",
        "Distribution and XLA: save the model without a distribution strategy and with jit_compile=False.",
    ),
    (
        r"Quantized|UniformQuant|Requantize|Dequantize|Quantize",
        "TensorFlow's quantized kernels: hand in the model in float32; onnxpress quantizes it itself.",
    ),
    (
        r"(Batch)?(Matrix|SelfAdjointEig|Cholesky|Svd|Qr|Eig|Lu|Logdet|LogMatrix|Tridiagonal|Banded)",
        "Linear algebra: where the matrix does not depend on the inputs, compute it once and keep the result "
        "as a weight; else compute it outside of the model.",
    ),
    (
        r"B?(I?R?FFT)|Complex|Conj|Real|Imag(?!e)|Angle|TFL_(RFFT2D|COMPLEX_ABS|REAL|IMAG)",
        "Complex numbers: ONNX has none. Keep real and imaginary part apart, as keras.ops does, or compute "
        "the spectrum outside of the model.",
    ),
    (
        r"DecodeWav|EncodeWav|AudioSpectrogram|Mfcc",
        "Audio: decode it outside of the model; spectrograms of tf.signal.stft convert.",
    ),
    (
        r"Apply|.*Grad$|.*Backprop(Input|Filter)?$|SymbolicGradient",
        "Training: save a signature that only predicts.",
    ),
    (
        r"(Write|Read)File|Print|LogicalPrint|.*Summary|Save|Restore",
        "Files and logs: save a signature that only predicts.",
    ),
    (
        r"TFL_Flex",
        "TensorFlow operators in a TFLite file: hand in the SavedModel or Keras file that it was made from.",
    ),
    (
        r"TFL_(?![A-Z0-9_]+$)",
        "Custom operators of a TFLite file: hand in the model that it was made from, or end the graph before "
        "them.",
    ),
)


_BEFORE_MODEL = 3
"""How many families of the table prepare what the model itself takes."""


def workarounds(operators: Iterable[str]) -> str:
    """The ways round some operators, each family's once, in the order of the operators."""
    found = dict.fromkeys(_ELSE if (n := _family(op)) is None else _BY_FAMILY[n][1] for op in operators)
    return " ".join(list(found)[:4])


def without_layer(layers: Sequence[str]) -> str:
    """The lines of Keras that save a model from behind some of its layers on.

    >>> print(without_layer(["words"]))
    In Keras these lines save it, without the layer words, from what that layer gives on:
        rest = keras.Model(model.get_layer("words").output, model.outputs)
        rest.save("rest.keras")
    """
    given = [f"model.get_layer({json.dumps(name)}).output" for name in layers]
    start = given[0] if len(given) == 1 else f"[{', '.join(given)}]"
    those = "the layer" if len(given) == 1 else "the layers"
    gives = "that layer gives" if len(given) == 1 else "those layers give"
    return (
        f"In Keras these lines save it, without {those} {', '.join(layers)}, from what {gives} on:\n"
        f"    rest = keras.Model({start}, model.outputs)\n"
        '    rest.save("rest.keras")'
    )


def comes_before_model(operator: str) -> bool:
    """Whether an operator makes numbers out of texts or files, which can as well be done before the model."""
    family = _family(operator)
    return family is not None and family < _BEFORE_MODEL


def _family(operator: str) -> int | None:
    return next((n for n, (pattern, _) in enumerate(_BY_FAMILY) if re.match(pattern, operator)), None)
