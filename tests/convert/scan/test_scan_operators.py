"""The allow-list against all of TensorFlow's operators: it keeps out what reaches outside, and only that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from savedmodels import edit, function_with, refusal
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session
from tf2onnx.handler import tf_op

from optimizer.convert import op_converters  # noqa: F401  # importing it fills tf2onnx's registry
from optimizer.convert.scan import scan
from optimizer.convert.scan.operators import ALLOWED, why_refused
from optimizer.errors import UnsafeModelError, UnsupportedModelError

_REACHES_OUTSIDE = re.compile(
    r"File|Read|Write|Save|Restore|Checkpoint|Asset|Immutable|LMDB|Record|Load|Remap|Vocab|Path|Directory"
    r"|Dataset|Iterator|Py(Func|thon)|Symbolic|Callback|Send|Recv|Rpc|Remote|Collective|Nccl|AllToAll"
    r"|CrossReplica|DTensor|TPU|Tpu|Infeed|Outfeed|Device|Host|Session|Server|Worker|Heartbeat|Http|Socket"
    r"|Summary|Event|Print|Log(ger|ging)|Debug|Dump|Stats|Proto|DB$|Sql|Mutex|Barrier|Queue|Stage|ThreadPool"
    r"|Sleep|Abort|Timestamp|Kernel|Custom|CallModule|HostCompute|Compile"
)
# In memory, although the name says read, write, record: each looked at.
_INNOCENT = {
    "DisableCopyOnRead", "ReadVariableOp", "RngReadAndSkip", "TensorArrayRead", "TensorArrayReadV2",
    "TensorArrayReadV3", "TensorArrayWrite", "TensorArrayWriteV2", "TensorArrayWriteV3", "HostConst",
    # They make a string; what writes it to a file is refused.
    "AudioSummary", "AudioSummaryV2", "HistogramSummary", "ImageSummary", "MergeSummary", "ScalarSummary",
    "TensorSummary", "TensorSummaryV2",
}  # fmt: skip
# State that lives and dies with the process: variables, tables, arrays, stacks, random numbers, calls.
_STATE_IN_MEMORY = re.compile(
    r"Variable|^VarHandleOp$|^VarIsInitializedOp$|^Resource(Apply|SparseApply|Gather|Scatter|StridedSlice)"
    r"|^DisableCopyOnRead$|HashTable|^InitializeTable|^LookupTable|^TensorArray|^Stack|Random|Sampler$|Stateful"
    r"|^Rng|Normal|Multinomial|^SampleDistortedBoundingBox|^CudnnRNN|^(If|Case|While|Assert|Empty)$"
    r"|^CheckNumerics|^NonDeterministicInts$|^(DeepCopy|GuaranteeConst)$"
)
_QUEUES = {"FIFOQueueV2", "QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2"}
_DATA = {"IteratorGetNext", "IteratorV2"}


@pytest.fixture(scope="module")
def operators() -> dict[str, Any]:
    """Every operator that this TensorFlow has, in its own graphs and in those of a stranger."""
    content = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    return {operator.name: operator for operator in op_def_pb2.OpList.FromString(content).op}


def test_the_list_is_whole(operators: dict[str, Any]) -> None:
    assert len(operators) > 1800
    assert set(operators) >= {"ReadFile", "WriteFile", "PyFunc", "MatMul"}
    assert set(operators) >= ALLOWED  # no name of an operator that does not exist


def test_nothing_that_reaches_outside_by_its_name_is_allowed(operators: dict[str, Any]) -> None:
    reaching = {name for name in operators if _REACHES_OUTSIDE.search(name)}
    assert len(reaching) > 350
    assert reaching & ALLOWED == _INNOCENT


def test_what_keeps_state_and_is_allowed_keeps_it_in_memory(operators: dict[str, Any]) -> None:
    stateful = {name for name in ALLOWED if operators[name].is_stateful}
    assert len(stateful) > 100
    assert [name for name in sorted(stateful) if not _STATE_IN_MEMORY.search(name)] == []


def test_nothing_that_takes_the_path_of_a_file_is_allowed(operators: dict[str, Any]) -> None:
    """By the names of inputs and attributes, which say it where the operator's own does not."""
    telling = re.compile(r"file|path|prefix|address|socket|host|python|token|device")
    found = {
        name
        for name in ALLOWED
        for field in (*operators[name].input_arg, *operators[name].attr)
        if telling.search(field.name)
    }
    # merged paths of a beam, memory of the host, devices that a variable may lie on
    assert found == {"CTCBeamSearchDecoder", "CudnnRNNBackpropV2", "CudnnRNNBackpropV3", "VarHandleOp"}


def test_what_can_be_converted_is_allowed(operators: dict[str, Any]) -> None:
    """No good model is refused: the scan lets pass all that tf2onnx and our own converters know."""
    convertible = {name for known in tf_op.get_opsets().values() for version in known for name in version}
    assert len(convertible & set(operators)) > 250
    assert (convertible & set(operators)) - ALLOWED == _QUEUES | _DATA


@pytest.mark.parametrize(
    "operator",
    [
        "CollectiveReduceV2", "DebugIdentityV2", "EncodeProto", "FixedUnigramCandidateSampler",
        "DumpTensorV2", "IteratorV2", "LMDBReader", "LoadAndRemapMatrix", "MatchingFiles", "PyFuncStateless",
        "RecordInput", "RemoteCall", "Skipgram", "TPUExecute", "TensorDataset", "WorkerHeartbeat",
        "WriteGraphSummary", "XlaHostCompute", "XlaCallModule", "_HostSend",
    ],
)  # fmt: skip
def test_an_operator_of_each_kind_is_refused_by_name(plain: Path, operator: str) -> None:
    def put(meta_graph: Any) -> None:
        function_with(meta_graph, "Sum").node_def.add(name="hostile", op=operator)

    kind = UnsafeModelError if why_refused(operator) else UnsupportedModelError
    assert f"Operator {operator}, node hostile" in refusal(edit(plain, put), kind)


def test_a_program_of_jax_has_a_way_round(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        function_with(meta_graph, "Sum").node_def.add(name="program", op="XlaCallModule")

    with pytest.raises(UnsupportedModelError) as caught:
        scan(edit(plain, put), "savedmodel")
    assert "native_serialization=False" in caught.value.hint


def test_reading_and_writing_are_called_so() -> None:
    assert why_refused("RecordInput") == why_refused("Skipgram") == "reads files"
    assert why_refused("CalibrationStatisticsSaver") == "writes files"
    assert why_refused("DTensorAllReduce") == "talks to other processes or machines"
