// The kernels for TensorRT's ahead-of-time plugins (tensorrt.plugin.aot_impl): TensorRT keeps their PTX in the plan and launches them
// without any code of ours. So what quick_gelu.cu does before a launch is done here, in the kernel.
//
// Arguments are the input, then integers (the only kind that TensorRT passes), then the output. A float travels as its bits. `vectors` are
// whole 16-byte vectors and `tail` the elements behind them, so that tensors may have more than 2^31 elements.
#include "quick_gelu_ops.cuh"

namespace profiler_plugin {
namespace {

__device__ __forceinline__ bool alignedPair(void const* x, void const* y) {
    return (reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y)) % 16 == 0;
}

// A thread takes one vector; the last block also the tail, which is shorter than a vector.
template <typename Op>
__device__ __forceinline__ void run(
    typename Op::Element const* x, int vectors, int tail, typename Op::Element* y, Op const& op) {
    constexpr int kLanes = 16 / sizeof(typename Op::Element);
    std::int64_t const mine = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (mine < vectors) {
        if (alignedPair(x, y)) {
            reinterpret_cast<uint4*>(y)[mine] = apply(op, reinterpret_cast<uint4 const*>(x)[mine]);
        } else {
            for (std::int64_t at = mine * kLanes; at < (mine + 1) * kLanes; ++at) {
                y[at] = op(x[at]);
            }
        }
    }
    if (blockIdx.x == gridDim.x - 1 && static_cast<int>(threadIdx.x) < tail) {
        std::int64_t const at = static_cast<std::int64_t>(vectors) * kLanes + threadIdx.x;
        y[at] = op(x[at]);
    }
}

}  // namespace
}  // namespace profiler_plugin

// The names say plugin and the element type, so that traces can attribute them.
extern "C" __global__ void __launch_bounds__(profiler_plugin::kThreads)
    quick_gelu_plugin_aot_fp32(float const* x, int vectors, int tail, int alphaBits, float* y) {
    float const alpha = __int_as_float(alphaBits);
    profiler_plugin::run(x, vectors, tail, y, profiler_plugin::FloatOp(alpha, profiler_plugin::reciprocal(alpha)));
}

extern "C" __global__ void __launch_bounds__(profiler_plugin::kThreads)
    quick_gelu_plugin_aot_fp16(__half const* x, int vectors, int tail, int alphaBits, __half* y) {
    profiler_plugin::run(x, vectors, tail, y, profiler_plugin::HalfOp(__int_as_float(alphaBits)));
}

// Each block makes the table, an entry a thread, so it pays to give a block several rounds of vectors: the grid decides how many.
extern "C" __global__ void __launch_bounds__(profiler_plugin::kThreads) quick_gelu_plugin_aot_int8(
    std::int8_t const* x, int vectors, int tail, int alphaBits, int inputScaleBits, int outputScaleBits, std::int8_t* y) {
    using namespace profiler_plugin;
    static_assert(kThreads == 256, "a thread makes one of the 256 entries");
    __shared__ std::uint32_t table[64];
    float const alpha = __int_as_float(alphaBits);
    FloatOp const op(alpha, reciprocal(alpha));
    int const mine = static_cast<int>(threadIdx.x);
    reinterpret_cast<std::int8_t*>(table)[mine] = static_cast<std::int8_t>(
        tableEntry(mine - 128, op, alpha, __int_as_float(inputScaleBits), __int_as_float(outputScaleBits)));
    __syncthreads();
    bool const aligned = alignedPair(x, y);
    std::int64_t const step = static_cast<std::int64_t>(gridDim.x) * kThreads;
    for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + mine; at < vectors; at += step) {
        if (aligned) {
            reinterpret_cast<uint4*>(y)[at] = lookUp(table, reinterpret_cast<uint4 const*>(x)[at]);
        } else {
            for (std::int64_t i = at * 16; i < (at + 1) * 16; ++i) {
                y[i] = static_cast<std::int8_t>(lookUp(table, static_cast<std::uint8_t>(x[i])) & 0xFFU);
            }
        }
    }
    if (blockIdx.x == gridDim.x - 1 && mine < tail) {
        std::int64_t const at = static_cast<std::int64_t>(vectors) * 16 + mine;
        y[at] = static_cast<std::int8_t>(lookUp(table, static_cast<std::uint8_t>(x[at])) & 0xFFU);
    }
}
