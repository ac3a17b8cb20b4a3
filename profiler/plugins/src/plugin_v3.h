// The plugin for TensorRT 10 and 11: IPluginV3 and its creator.
#pragma once

#include <cstdint>
#include <new>
#include <string>

#include "plugin_node.h"

namespace {

class QuickGelu final : public nvinfer1::IPluginV3,
                        public nvinfer1::IPluginV3OneCore,
                        public nvinfer1::IPluginV3OneBuild,
                        public nvinfer1::IPluginV3OneRuntime {
public:
    explicit QuickGelu(Node const& node) : mNode(node) {}

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    nvinfer1::IPluginV3* clone() noexcept override {
        return new (std::nothrow) QuickGelu(mNode);
    }
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    char const* getPluginNamespace() const noexcept override {
        return kNamespace;
    }
    int32_t getNbOutputs() const noexcept override {
        return 1;
    }
    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept override {
        return 0;
    }
    bool supportsFormatCombination(
        int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            return false;
        }
        if (pos == 0) {
            return supported(mNode.settings, inOut[0].desc.type, inOut[0].desc.format);
        }
        return inOut[1].desc.type == inOut[0].desc.type && inOut[1].desc.format == inOut[0].desc.format;
    }
    int32_t getOutputDataTypes(DataType* outputTypes, int32_t nbOutputs, DataType const* inputTypes, int32_t nbInputs) const noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            report("takes one input and gives one output.");
            return 1;
        }
        // in a strongly typed network this is the place where a wrong type shows
        bool const fits = mNode.settings.quantised() ? inputTypes[0] == DataType::kINT8
                                                : inputTypes[0] == DataType::kFLOAT || inputTypes[0] == DataType::kHALF
                || inputTypes[0] == DataType::kINT8;
        if (!fits) {
            report(std::string("its input is ") + typeName(inputTypes[0]) + ", and "
                + (mNode.settings.quantised() ? "INT8 (it has scales)" : "FP32 or FP16") + " was expected.");
            return 1;
        }
        outputTypes[0] = inputTypes[0];
        return 0;
    }
    int32_t getOutputShapes(DimsExprs const* inputs, int32_t, DimsExprs const*, int32_t, DimsExprs* outputs, int32_t,
        IExprBuilder&) noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    size_t getWorkspaceSize(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) const noexcept override {
        return 0;
    }
    char const* getTimingCacheID() noexcept override {
        return mNode.settings.quantised() ? "ProfilerQuickGelu/1/int8" : "ProfilerQuickGelu/1";
    }
    int32_t onShapeChange(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) noexcept override {
        return 0;
    }
    int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs,
        void*, cudaStream_t stream) noexcept override {
        return run(mNode, inputDesc[0], outputDesc[0], inputs[0], outputs[0], stream);
    }
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
        return clone();
    }
    PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        mStored[0] = {"alpha", &mNode.settings.alpha, PluginFieldType::kFLOAT32, 1};
        mStored[1] = {"input_scale", &mNode.settings.inputScale, PluginFieldType::kFLOAT32, 1};
        mStored[2] = {"output_scale", &mNode.settings.outputScale, PluginFieldType::kFLOAT32, 1};
        mCollection = {3, mStored};
        return &mCollection;
    }

private:
    Node mNode;
    PluginField mStored[3];
    PluginFieldCollection mCollection{};
};

class Creator final : public nvinfer1::IPluginCreatorV3One {
public:
    nvinfer1::IPluginV3* createPlugin(
        char const*, PluginFieldCollection const* fields, nvinfer1::TensorRTPhase) noexcept override {
        Settings settings;
        return read(fields, settings) ? new (std::nothrow) QuickGelu(Node(settings)) : nullptr;
    }
    PluginFieldCollection const* getFieldNames() noexcept override {
        return fieldNames();
    }
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    char const* getPluginNamespace() const noexcept override {
        return kNamespace;
    }
};

}  // namespace
