"""The names that a Keras config may hold: Keras's own classes, and TensorFlow functions that only compute."""

from __future__ import annotations

import re

from optimizer.convert.scan.operators import ALLOWED

RUNS_CODE = {
    "Lambda": "a Lambda layer holds Python code",
    "__lambda__": "a serialized Python function",
    "TFSMLayer": "it loads another SavedModel",
    "TorchModuleWrapper": "it holds a pickled PyTorch module",
    "JaxLayer": "it holds Python code",
    "FlaxLayer": "it holds Python code",
}
"""Keras's classes that run what the file says, and why."""

VOCABULARY_LAYERS = frozenset({"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"})
"""Their `vocabulary` may be the path of a file, which is read when the layer is made."""

_CLASS_NAMES = """
    AUC AWQConfig AWQDTypePolicy AbsMaxQuantizer AbstractRNNCell Accuracy Activation ActivityRegularization
    Adadelta Adafactor Adagrad Adam AdamW Adamax AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AddLoss
    AddMetric AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BaseLossScaleOptimizer BaseRandomLayer
    BatchNormalization BatchNormalizationBase BatchNormalizationV1 BatchNormalizationV2 Bidirectional
    BinaryAccuracy BinaryCrossentropy BinaryFocalCrossentropy BinaryIoU CTC CategoricalAccuracy
    CategoricalCrossentropy CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy CategoricalHinge
    CategoryEncoding CenterCrop Circle ClassMethod CompositeTensor Concatenate ConcordanceCorrelation
    Constant Constraint ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D
    Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose
    CosineDecay CosineDecayRestarts CosineSimilarity Cropping1D Cropping2D Cropping3D CuDNNGRU CuDNNLSTM
    CutMix DTypePolicy DTypePolicyMap Dense DenseFeatures DepthwiseConv1D DepthwiseConv2D DeviceWrapper Dice
    Discretization Dot Dropout DropoutWrapper DynamicEmbedding DynamicLookup ELU EinsumDense Embedding
    Equalization ExponentialDecay F1Score FBetaScore FalseNegatives FalsePositives Flatten
    Float8QuantizationConfig FloatDTypePolicy Ftrl Functional GPTQConfig GPTQDTypePolicy GRU GRUCell
    GRUCellV1 GRUCellV2 GRUV1 GRUV2 GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D
    GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlorotNormal GlorotUniform GroupNormalization GroupQueryAttention GroupedQueryAttention HashedCrossing
    Hashing HeNormal HeUniform Hinge Huber Identity IdentityInitializer Initializer Input InputLayer
    InputSpec InstanceMethod InstanceProperty Int4DTypePolicy Int4QuantizationConfig Int8QuantizationConfig
    IntegerLookup InverseTimeDecay IoU KLDivergence L1 L1L2 L2 LSTM LSTMCell LSTMCellV1 LSTMCellV2 LSTMV1
    LSTMV2 Lamb Layer LayerNormalization LeakyReLU LearningRateSchedule LecunNormal LecunUniform LinearModel
    Lion LocallyConnected1D LocallyConnected2D LogCosh LogCoshError Loss LossScaleOptimizer Masking MaxNorm
    MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum Mean
    MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanMetricWrapper MeanRelativeError
    MeanSquaredError MeanSquaredLogarithmicError MeanTensor MelSpectrogram Metric MinMaxNorm Minimum MixUp
    Model MultiHeadAttention MultiOptimizer Multiply Muon Nadam NonNeg Normalization OneHotIoU OneHotMeanIoU
    Ones Optimizer OptimizerMap OptimizerV2 Orthogonal OrthogonalInitializer OrthogonalRegularizer PReLU
    PearsonCorrelation Permute PiecewiseConstantDecay Pipeline Poisson Policy PolynomialDecay Precision
    PrecisionAtRecall QuantizationConfig QuantizedDTypePolicy QuantizedFloat8DTypePolicy Quantizer R2Score
    RMSNormalization RMSprop RNN RadialConstraint RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip
    RandomFourierFeatures RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert
    RandomNormal RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomUniform RandomWidth RandomZoom ReLU Recall RecallAtPrecision
    Reduction ReductionV2 Regularizer RepeatVector Rescaling Reshape ResidualWrapper Resizing
    ReversibleEmbedding RootMeanSquaredError SGD STFT STFTInitializer STFTSpectrogram ScheduleFreeAdamW
    SeedGenerator SensitivityAtSpecificity SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D SequenceFeatures Sequential SimpleRNN SimpleRNNCell SlicingOpLambda Softmax
    Solarization SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpecificityAtSensitivity SpectralNormalization
    SquaredHinge StackedRNNCells StringLookup Subtract Sum SyncBatchNormalization TFOpLambda
    TensorFlowOpLayer TensorShape TextVectorization ThresholdedReLU TimeDistributed TopKCategoricalAccuracy
    TrueNegatives TruePositives TruncatedNormal Tversky TypeSpec UnitNorm UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D VarianceScaling WideDeepModel Wrapper ZeroPadding1D ZeroPadding2D
    ZeroPadding3D Zeros _RNNCellWrapper __ellipsis__ __tuple__ add average concatenate constant dot
    glorot_normal glorot_uniform he_normal he_uniform identity l1 l1_l2 l2 lecun_normal lecun_uniform
    max_norm maximum min_max_norm minimum multiply non_neg ones orthogonal orthogonal_regularizer
    radial_constraint random_normal random_uniform stft subtract truncated_normal unit_norm variance_scaling
    zeros
"""
KERAS_CLASSES = frozenset(_CLASS_NAMES.split())
"""Classes of Keras 2.21 (tf_keras) and Keras 3.15 that compute only; both wrap functions by name alone."""

_FUNCTION_NAMES = """
    abs acos acosh add add_n argmax argmin argsort as_string asin asinh atan atan2 atanh batch_to_space
    bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to cast
    clip_by_global_norm clip_by_norm clip_by_value complex concat constant convert_to_tensor cos cosh cumsum
    divide dynamic_partition dynamic_stitch edit_distance eig eigvals einsum ensure_shape equal exp
    expand_dims eye fill fingerprint floor gather gather_nd greater greater_equal guarantee_const
    histogram_fixed_width identity identity_n less less_equal linspace logical_and logical_not logical_or
    matmul matrix_square_root maximum meshgrid minimum multiply negative no_op norm not_equal one_hot ones
    ones_like pad parallel_stack pow range rank realdiv recip reciprocal reduce_all reduce_any
    reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse
    reverse_sequence roll round saturate_cast scalar_mul scatter_nd searchsorted sequence_mask shape shape_n
    sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square squeeze stack
    stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_max
    tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile transpose truediv
    truncatediv truncatemod unique unique_with_counts unravel_index unstack where zeros zeros_like
"""
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_NAMESPACES = (
    "__operators__|bitwise|dtypes|image|linalg|math|nn|quantization|ragged|random|sets|signal|sparse|strings"
)


def is_computing_function(symbol: str) -> bool:
    """Whether a name in TensorFlow's Python API, as TFOpLambda stores it, is a function that computes only.

    >>> is_computing_function("math.add"), is_computing_function("io.write_file")
    (True, False)
    """
    name = re.sub(r"^(tf\.)?(compat\.v[12]\.)?", "", symbol)
    if name.startswith("raw_ops."):
        return name.removeprefix("raw_ops.") in ALLOWED
    return (
        name in _FUNCTIONS
        or re.fullmatch(rf"({_NAMESPACES})(\.[A-Za-z_]+)?\.[A-Za-z_0-9]+", name) is not None
    )
