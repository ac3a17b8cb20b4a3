// QuickGELU, y = x * sigmoid(alpha * x), as CUDA kernels that a plugin or any other program launches. alpha is 1.702 for QuickGELU (the
// activation of CLIP's image encoders) and 1 for SiLU.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

namespace profiler_plugin {

enum class Type : std::int32_t { kFloat = 0, kHalf = 1, kInt8 = 2 };

struct Parameters {
    float alpha;
    float inputScale;   // INT8: value = scale * integer; not read for other types
    float outputScale;
};

// INT8 has 256 values, so the function is a table: one rounding, whatever the scales, and no arithmetic on the GPU. Making it takes the CPU
// some microseconds, so who launches often makes it once.
struct Table {
    std::uint32_t words[64];  // the entry of value q is byte q + 128
};

// Computed in double precision, rounded to even and clamped as TensorRT's QuantizeLinear does. Both scales must be above 0.
Table makeTable(Parameters const& parameters);

// Start y = f(x) for `count` elements on `stream`; x and y may be the same memory. Every element is treated alike, so any layout may be
// given, its padding included: f(0) is 0, so padding that was zero stays zero. Memory that is not aligned to 16 bytes is handled element by
// element. Allocates nothing and never waits, so it can be captured into a CUDA graph. `table` is that of the parameters, or null to have
// it made.
cudaError_t launch(Type type, void const* x, void* y, std::int64_t count, Parameters const& parameters, cudaStream_t stream,
    Table const* table = nullptr);

}  // namespace profiler_plugin
