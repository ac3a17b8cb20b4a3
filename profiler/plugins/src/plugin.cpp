// The library: its C functions, and the registration of the plugin (plugin_v2.h for TensorRT 8, plugin_v3.h for TensorRT 10 and 11).
//
// ONNX node:  op type ProfilerQuickGelu, any domain, one input, one output; attributes plugin_version = "1", plugin_namespace = "", and
//   alpha         float, above 0; default 1.702
//   input_scale   float; with output_scale: the node takes and gives INT8 tensors, value = scale * integer
//   output_scale  float
// so an INT8 node stands between a QuantizeLinear of input_scale and a DequantizeLinear of output_scale.
//
// The library registers itself when it is loaded into a process that has TensorRT of the major version it was compiled for, and says what
// it did through profiler_plugin_status(). Without TensorRT its kernels can still be launched.
#include <string>

#include "quick_gelu.h"

#ifndef PROFILER_NO_TENSORRT
#include <NvInferVersion.h>

#if NV_TENSORRT_MAJOR < 10
#include "plugin_v2.h"
#else
#include "plugin_v3.h"
#endif
#endif

#define PROFILER_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::string gStatus = "not registered";

}  // namespace

// What the library is and whether it registered itself: "registered", or the reason why not.
PROFILER_EXPORT char const* profiler_plugin_status() {
    return gStatus.c_str();
}

// The TensorRT that the library was compiled for, as MAJOR.MINOR.PATCH; empty when without.
PROFILER_EXPORT char const* profiler_plugin_tensorrt() {
#ifdef PROFILER_NO_TENSORRT
    return "";
#else
    static std::string const text = std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) + "."
        + std::to_string(NV_TENSORRT_PATCH);
    return text.c_str();
#endif
}

// Start the kernel on device memory; returns a cudaError_t. type: 0 FP32, 1 FP16, 2 INT8.
PROFILER_EXPORT int profiler_quick_gelu(int type, void const* x, void* y, long long count, float alpha, float inputScale,
    float outputScale, void* stream) {
    return static_cast<int>(profiler_plugin::launch(static_cast<profiler_plugin::Type>(type), x, y, count,
        {alpha, inputScale, outputScale}, static_cast<cudaStream_t>(stream)));
}

PROFILER_EXPORT char const* profiler_plugin_error(int status) {
    return cudaGetErrorString(static_cast<cudaError_t>(status));
}

#ifndef PROFILER_NO_TENSORRT
namespace {

// getInferLibVersion() counts major * 1000 + minor * 100 + patch up to TensorRT 9, and major * 10000 + minor * 100 + patch since.
int32_t majorOf(int32_t version) {
    return version >= 10000 ? version / 10000 : version / 1000;
}

std::string registerCreator() {
    using Registry = nvinfer1::IPluginRegistry* (*) ();
    using Version = int32_t (*)();
    auto const version = find<Version>("getInferLibVersion");
    if (version == nullptr) {
        return "TensorRT is not loaded in this process";
    }
    if (majorOf(version()) != NV_TENSORRT_MAJOR) {
        return "compiled for TensorRT " + std::string(profiler_plugin_tensorrt()) + ", and this process runs TensorRT "
            + std::to_string(majorOf(version()));
    }
    auto const registry = find<Registry>("getPluginRegistry");
    nvinfer1::IPluginRegistry* const target = registry != nullptr ? registry() : nullptr;
    if (target == nullptr) {
        return "this process's TensorRT has no plugin registry";
    }
    static Creator creator;
    return target->registerCreator(creator, kNamespace) ? "registered" : "TensorRT refused the plugin: is it registered already?";
}

struct Registrar {
    Registrar() {
        gStatus = registerCreator();
    }
} const gRegistrar;

}  // namespace
#endif
