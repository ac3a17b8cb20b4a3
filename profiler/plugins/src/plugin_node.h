// A node as both of TensorRT's plugin interfaces see it: its settings, the types and layouts it takes, and what enqueue does.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include <dlfcn.h>

#include <NvInferRuntime.h>

#include "quick_gelu.h"

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IExprBuilder;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr char const* kName = "ProfilerQuickGelu";
constexpr char const* kVersion = "1";
constexpr char const* kNamespace = "";
constexpr float kDefaultAlpha = 1.702F;

// TensorRT's own functions are found in the process at run time. Linked in, they would tie the library to one installation's file names, and
// keep it from loading where there is no TensorRT.
template <typename Function>
Function find(char const* name) {
    void* found = dlsym(RTLD_DEFAULT, name);
    // Python's loader keeps symbols private unless told otherwise; other versions are looked for too, to name the one that runs
    for (int32_t major = 8; found == nullptr && major <= 15; ++major) {
        std::string const library = "libnvinfer.so." + std::to_string(major);
        if (void* handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_NOLOAD)) {
            found = dlsym(handle, name);
        }
    }
    return reinterpret_cast<Function>(found);
}

void report(std::string const& text) noexcept {
    using Logger = nvinfer1::ILogger* (*) ();
    auto const logger = find<Logger>("getLogger");
    nvinfer1::ILogger* const target = logger != nullptr ? logger() : nullptr;
    std::string const message = std::string(kName) + ": " + text;
    if (target != nullptr) {
        target->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
    } else {
        std::fprintf(stderr, "%s\n", message.c_str());
    }
}

struct Settings {
    float alpha = kDefaultAlpha;
    float inputScale = 0.0F;
    float outputScale = 0.0F;

    bool quantised() const {
        return inputScale > 0.0F;
    }
};

bool usable(float scale) {
    return std::isfinite(scale) && scale > 0.0F;
}

bool valid(Settings const& s) {
    if (!usable(s.alpha)) {
        report("alpha is " + std::to_string(s.alpha) + ", and a number above 0 was expected.");
        return false;
    }
    bool const none = s.inputScale == 0.0F && s.outputScale == 0.0F;
    if (!none && !(usable(s.inputScale) && usable(s.outputScale))) {
        report("input_scale is " + std::to_string(s.inputScale) + " and output_scale " + std::to_string(s.outputScale)
            + "; both were expected above 0, or neither.");
        return false;
    }
    return true;
}

bool read(PluginFieldCollection const* fields, Settings& settings) {
    for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
        PluginField const& field = fields->fields[i];
        float* const target = std::strcmp(field.name, "alpha") == 0 ? &settings.alpha
            : std::strcmp(field.name, "input_scale") == 0           ? &settings.inputScale
            : std::strcmp(field.name, "output_scale") == 0          ? &settings.outputScale
                                                                    : nullptr;
        if (target == nullptr || field.data == nullptr || field.length == 0) {
            continue;  // the parser hands over every field that it knows, given or not
        }
        if (field.type != PluginFieldType::kFLOAT32 || field.length != 1) {
            report(std::string(field.name) + " has another type than one 32-bit float.");
            return false;
        }
        std::memcpy(target, field.data, sizeof(float));
    }
    return valid(settings);
}

PluginFieldCollection const* fieldNames() {
    static PluginField const fields[] = {
        {"alpha", nullptr, PluginFieldType::kFLOAT32, 1},
        {"input_scale", nullptr, PluginFieldType::kFLOAT32, 1},
        {"output_scale", nullptr, PluginFieldType::kFLOAT32, 1},
    };
    static PluginFieldCollection const collection{3, fields};
    return &collection;
}

char const* typeName(DataType type) {
    switch (type) {
    case DataType::kFLOAT: return "FP32";
    case DataType::kHALF: return "FP16";
    case DataType::kINT8: return "INT8";
    case DataType::kINT32: return "INT32";
    case DataType::kBOOL: return "BOOL";
    default: return "another type";
    }
}

// Elements per vector along the channels, and where the channels are, counted from the last dimension; 0: not a layout that is known here.
struct Layout {
    int32_t vector = 0;
    int32_t channelFromEnd = 3;
};

Layout layoutOf(TensorFormat format) {
    switch (format) {
    case TensorFormat::kLINEAR:
    case TensorFormat::kHWC: return {1, 3};
    case TensorFormat::kCHW2: return {2, 3};
    case TensorFormat::kCHW4: return {4, 3};
    case TensorFormat::kHWC8: return {8, 3};
    case TensorFormat::kHWC16: return {16, 3};
    case TensorFormat::kCHW32: return {32, 3};
    case TensorFormat::kDHWC8: return {8, 4};
    case TensorFormat::kCDHW32: return {32, 4};
    default: return {};
    }
}

// Which layouts are offered for a type: those in which TensorRT's convolutions take and give it.
bool supported(DataType type, TensorFormat format) {
    switch (type) {
    case DataType::kFLOAT:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kHWC;
    case DataType::kHALF:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kCHW2 || format == TensorFormat::kHWC8
            || format == TensorFormat::kHWC16 || format == TensorFormat::kDHWC8;
    case DataType::kINT8:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kCHW4 || format == TensorFormat::kCHW32
            || format == TensorFormat::kCDHW32;
    default: return false;
    }
}

// A node with scales is INT8, one without computes in floating point, unless TensorRT itself brings scales (implicit quantisation).
bool supported(Settings const& settings, DataType type, TensorFormat format) {
    return supported(type, format) && (!settings.quantised() || type == DataType::kINT8);
}

// Elements in memory, the padding of the channels to full vectors included; -1 when the shape has no such dimension or is still open.
int64_t elements(Dims const& dims, TensorFormat format) {
    Layout const layout = layoutOf(format);
    int32_t const channel = dims.nbDims - layout.channelFromEnd;
    if (layout.vector == 0 || (layout.vector > 1 && channel < 0)) {
        return -1;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        int64_t size = dims.d[i];
        if (size < 0) {
            return -1;
        }
        if (layout.vector > 1 && i == channel) {
            size = (size + layout.vector - 1) / layout.vector * layout.vector;
        }
        count *= size;
    }
    return count;
}

// A node with what its launches need. Its table is made once: a node runs in every inference.
struct Node {
    Settings settings;
    profiler_plugin::Table table{};

    explicit Node(Settings const& given) : settings(given) {
        if (settings.quantised()) {
            table = profiler_plugin::makeTable({settings.alpha, settings.inputScale, settings.outputScale});
        }
    }
};

// What both interfaces' enqueue does. Returns 0, or 1 after reporting why not.
int32_t run(Node const& node, PluginTensorDesc const& in, PluginTensorDesc const& out, void const* x, void* y,
    cudaStream_t stream) noexcept {
    Settings const& settings = node.settings;
    if (in.type != out.type || in.format != out.format) {
        report(std::string("input is ") + typeName(in.type) + " in format " + std::to_string(static_cast<int32_t>(in.format))
            + " and output " + typeName(out.type) + " in format " + std::to_string(static_cast<int32_t>(out.format))
            + "; they were expected to be alike.");
        return 1;
    }
    int64_t const count = elements(in.dims, in.format);
    if (!supported(settings, in.type, in.format) || count < 0 || elements(out.dims, out.format) != count) {
        report(std::string("cannot run on ") + typeName(in.type) + " in format " + std::to_string(static_cast<int32_t>(in.format))
            + "; FP32 (linear, HWC), FP16 (linear, CHW2, HWC8, HWC16, DHWC8) or INT8 (linear, CHW4, CHW32, CDHW32), of one shape in "
              "and out, was expected.");
        return 1;
    }
    profiler_plugin::Parameters parameters{settings.alpha, settings.inputScale, settings.outputScale};
    profiler_plugin::Table const* table = settings.quantised() ? &node.table : nullptr;
    auto type = profiler_plugin::Type::kFloat;
    if (in.type == DataType::kHALF) {
        type = profiler_plugin::Type::kHalf;
    } else if (in.type == DataType::kINT8) {
        type = profiler_plugin::Type::kInt8;
        if (!settings.quantised()) {
            parameters.inputScale = in.scale;
            parameters.outputScale = out.scale;
            if (!usable(in.scale) || !usable(out.scale)) {
                report("runs in INT8 without scales; give the node input_scale and output_scale.");
                return 1;
            }
        }
    }
    cudaError_t const status = profiler_plugin::launch(type, x, y, count, parameters, stream, table);
    if (status != cudaSuccess) {
        report(std::string("the kernel could not be started (") + cudaGetErrorString(status) + ").");
        return 1;
    }
    return 0;
}

}  // namespace
