"""Stand-ins for TensorRT, CUDA and a GPU, for what can be tested without one: a network of one input whose output is its mean.

What the real bindings have is checked elsewhere (test_bindings.py); here the order of calls and the errors are.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np


class ILogger:
    def __init__(self) -> None:
        pass


class _Enum:
    def __init__(self, **members: int) -> None:
        self.__members__ = members
        self.__dict__.update(members)


class _HostMemory(bytearray):
    pass


class _Tensor:
    def __init__(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype


class FakeTensorRT:
    """``trt`` of one version; what it should do is set in its attributes."""

    ILogger = ILogger
    float32, float16 = "float32", "float16"
    BuilderFlag = _Enum(TF32=7, FP16=0, INT8=1)
    NetworkDefinitionCreationFlag = _Enum(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    ProfilingVerbosity = _Enum(LAYER_NAMES_ONLY=0, DETAILED=1)
    MemoryPoolType = _Enum(WORKSPACE=0)
    TacticSource = _Enum(CUBLAS=0, CUBLAS_LT=1, CUDNN=2)
    LayerInformationFormat = _Enum(ONELINE=0, JSON=1)
    LayerType = _Enum(CONVOLUTION=0, QUANTIZE=40)
    TensorIOMode = _Enum(INPUT=1, OUTPUT=2)
    TensorFormat = _Enum(LINEAR=0, CHW32=4)

    def __init__(self, version: str = "8.5.3.1") -> None:
        self.__version__ = version
        self.batch = -1
        self.quantised, self.half = False, False
        self.parse_errors: list[str] = []
        self.build_errors: list[str] = []
        self.load_errors: list[str] = []
        self.profiles: list[tuple[Any, Any, Any]] = [((1, 3, 4, 4), (8, 3, 4, 4), (16, 3, 4, 4))]
        self.flags: set[int] = {7}
        self.output_format = 0
        self.no_context = False
        self.interrupt = False
        self.cache_accepted = True
        self.config: Any = None

    def Builder(self, logger: Any) -> Any:
        self.logger = logger
        return SimpleNamespace(
            create_network=self._network,
            create_builder_config=self._config,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=self._set_shape),
            build_serialized_network=self._build,
        )

    def _set_shape(self, _name: str, *shapes: tuple[int, ...]) -> None:
        self.profiles = [(shapes[0], shapes[1], shapes[2])]

    def _network(self, flags: int) -> Any:
        self.network_flags = flags
        layers = [SimpleNamespace(type=0, num_outputs=1, get_output=lambda _: _Tensor("x", (), self._dtype()))]
        if self.quantised:
            layers.append(SimpleNamespace(type=40, num_outputs=0))
        self._io = [_Tensor("input", (self.batch, 3, 4, 4), "float32"), _Tensor("logits", (self.batch, 1), "float32")]
        return SimpleNamespace(
            num_layers=len(layers),
            get_layer=lambda i: layers[i],
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: self._io[0],
            get_output=lambda _: self._io[1],
        )

    def _dtype(self) -> str:
        return "float16" if self.half else "float32"

    def _config(self) -> Any:
        self.config = SimpleNamespace(
            set_flag=self.flags.add,
            clear_flag=self.flags.discard,
            get_tactic_sources=lambda: 0b111,
            set_tactic_sources=lambda mask: setattr(self, "mask", mask),
            set_memory_pool_limit=lambda pool, size: setattr(self, "workspace", size),
            add_optimization_profile=lambda _: 0,
            create_timing_cache=lambda content: SimpleNamespace(content=content, serialize=lambda: b"cache"),
            set_timing_cache=self._set_cache,
            get_timing_cache=lambda: self.cache,
        )
        return self.config

    def _set_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return self.cache_accepted or not cache.content

    def OnnxParser(self, _network: Any, _logger: Any) -> Any:
        errors = [SimpleNamespace(desc=lambda t=t: t, node=lambda: 3) for t in self.parse_errors]
        return SimpleNamespace(
            parse=lambda _model, _path: not errors, num_errors=len(errors), get_error=lambda i: errors[i]
        )

    def _build(self, _network: Any, _config: Any) -> Any:
        if self.interrupt:
            raise KeyboardInterrupt
        self.logger.log("Severity.VERBOSE", "--------------- Timing Runner: /conv1/Conv (CaskConvolution)")
        for text in self.build_errors:
            self.logger.log("Severity.ERROR", text)
        return None if self.build_errors else _HostMemory(b"plan")

    def Runtime(self, logger: Any) -> Any:
        def deserialise(_data: bytes) -> Any:
            for text in self.load_errors:
                logger.log("Severity.ERROR", text)
            return None if self.load_errors else self._engine()

        return SimpleNamespace(deserialize_cuda_engine=deserialise)

    def _engine(self) -> Any:
        document = {"Layers": [{"Name": "a"}], "Bindings": ["input", "logits"]}
        names = ["input", "logits"]
        return SimpleNamespace(
            device_memory_size=1024,
            num_io_tensors=2,
            num_optimization_profiles=len(self.profiles),
            get_tensor_name=lambda i: names[i],
            get_tensor_mode=lambda n: 1 if n == "input" else 2,
            get_tensor_shape=lambda n: (self.batch, 3, 4, 4) if n == "input" else (self.batch, 1),
            get_tensor_profile_shape=lambda n, i: self.profiles[i],
            get_tensor_format=lambda n: 0 if n == "input" else self.output_format,
            get_tensor_format_desc=lambda n: "CHW32",
            get_tensor_dtype=lambda n: "float32",
            create_execution_context=lambda: None if self.no_context else FakeContext(self),
            create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda _f: json.dumps(document)),
        )

    @staticmethod
    def init_libnvinfer_plugins(_logger: Any, _namespace: str) -> bool:
        return True

    @staticmethod
    def nptype(dtype: str) -> Any:
        return np.dtype(dtype)


class FakeContext:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt, self.shape, self.addresses = trt, (trt.batch, 3, 4, 4), {}
        self.selected = 0
        self.runs = 0

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.selected = index
        return True

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if name == "input" else (self.shape[0], 1)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        self.runs += 1
        FakeCuda.last = self
        self.compute()
        return True

    def compute(self) -> None:
        memory = FakeCuda.memory
        if "input" in self.addresses and self.addresses["input"] in memory:
            images = memory[self.addresses["input"]]
            memory[self.addresses["logits"]] = images.mean(axis=(1, 2, 3), keepdims=True)[:, :, 0, 0]


class FakeCuda:
    """Device memory is a dictionary of arrays."""

    memory: dict[int, np.ndarray[Any, Any]] = {}  # noqa: RUF012 - one device, whoever uses it
    next = 0x1000
    last: FakeContext

    def __init__(self) -> None:
        self.stream, self.calls = 5, []

    def device(self) -> dict[str, Any]:
        return {"name": "Fake GPU", "sm": 90, "cuda": "12.6", "memory_bytes": 1 << 34}

    def pci_bus_id(self) -> str:
        return "0000:01:00.0"

    def allocate(self, size_bytes: int) -> int:
        FakeCuda.next += 0x1000
        return FakeCuda.next

    def to_device(self, address: int, array: np.ndarray[Any, Any]) -> None:
        FakeCuda.memory[address] = array.copy()

    def to_host(self, array: np.ndarray[Any, Any], address: int) -> None:
        np.copyto(array, FakeCuda.memory[address])

    def synchronize(self) -> None:
        self.calls.append("wait")

    def begin_capture(self) -> None:
        self.calls.append("begin")

    def end_capture(self) -> str:
        self.calls.append("end")
        return "graph"

    def launch(self, graph: str) -> None:
        self.calls.append(f"launch {graph}")
        FakeCuda.last.compute()

    def event(self) -> Any:
        return SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_ms=lambda _end: 1.5)

    def wait(self, event: Any) -> None:
        self.calls.append("wait for another stream")

    def profiler_start(self) -> None:
        self.calls.append("start")

    def profiler_stop(self) -> None:
        self.calls.append("stop")
