// The plugin for TensorRT 8: IPluginV2DynamicExt and its creator.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <string>

#include "plugin_node.h"

namespace {

// What a plan holds of a node. `format` tells whether this library wrote it.
struct Stored {
    uint32_t magic;
    uint32_t format;
    Settings settings;
};
constexpr uint32_t kMagic = 0x554C4751;  // "QGLU"
constexpr uint32_t kFormat = 1;

class QuickGelu final : public nvinfer1::IPluginV2DynamicExt {
public:
    explicit QuickGelu(Node const& node) : mNode(node) {}

    QuickGelu* clone() const noexcept override {
        auto* copy = new (std::nothrow) QuickGelu(mNode);
        if (copy != nullptr) {
            copy->mNamespace = mNamespace;
        }
        return copy;
    }
    DimsExprs getOutputDimensions(int32_t, DimsExprs const* inputs, int32_t, IExprBuilder&) noexcept override {
        return inputs[0];
    }
    bool supportsFormatCombination(int32_t pos, PluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            return false;
        }
        if (pos == 0) {
            return supported(mNode.settings, inOut[0].type, inOut[0].format);
        }
        return inOut[1].type == inOut[0].type && inOut[1].format == inOut[0].format;
    }
    void configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept override {}
    size_t getWorkspaceSize(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) const noexcept override {
        return 0;
    }
    int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs,
        void*, cudaStream_t stream) noexcept override {
        return run(mNode, inputDesc[0], outputDesc[0], inputs[0], outputs[0], stream);
    }
    DataType getOutputDataType(int32_t, DataType const* inputTypes, int32_t) const noexcept override {
        return mNode.settings.quantised() ? DataType::kINT8 : inputTypes[0];
    }
    char const* getPluginType() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    int32_t getNbOutputs() const noexcept override {
        return 1;
    }
    int32_t initialize() noexcept override {
        return 0;
    }
    void terminate() noexcept override {}
    size_t getSerializationSize() const noexcept override {
        return sizeof(Stored);
    }
    void serialize(void* buffer) const noexcept override {
        Stored const stored{kMagic, kFormat, mNode.settings};
        std::memcpy(buffer, &stored, sizeof(stored));
    }
    void destroy() noexcept override {
        delete this;
    }
    void setPluginNamespace(char const* pluginNamespace) noexcept override {
        mNamespace = pluginNamespace;
    }
    char const* getPluginNamespace() const noexcept override {
        return mNamespace.c_str();
    }

private:
    Node mNode;
    std::string mNamespace = kNamespace;
};

class Creator final : public nvinfer1::IPluginCreator {
public:
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    PluginFieldCollection const* getFieldNames() noexcept override {
        return fieldNames();
    }
    nvinfer1::IPluginV2* createPlugin(char const*, PluginFieldCollection const* fields) noexcept override {
        Settings settings;
        return read(fields, settings) ? make(settings) : nullptr;
    }
    nvinfer1::IPluginV2* deserializePlugin(char const* name, void const* data, size_t length) noexcept override {
        Stored stored{};
        if (data == nullptr || length != sizeof(stored)) {
            report(std::string(name) + ": the plan holds " + std::to_string(length) + " bytes for this layer, and "
                + std::to_string(sizeof(stored)) + " were expected: it was built with another version of this plugin. Build it again.");
            return nullptr;
        }
        std::memcpy(&stored, data, sizeof(stored));
        if (stored.magic != kMagic || stored.format != kFormat) {
            report(std::string(name) + ": the plan was built with another version of this plugin. Build it again.");
            return nullptr;
        }
        return valid(stored.settings) ? make(stored.settings) : nullptr;
    }
    void setPluginNamespace(char const* pluginNamespace) noexcept override {
        mNamespace = pluginNamespace;
    }
    char const* getPluginNamespace() const noexcept override {
        return mNamespace.c_str();
    }

private:
    nvinfer1::IPluginV2* make(Settings const& settings) const {
        auto* plugin = new (std::nothrow) QuickGelu(Node(settings));
        if (plugin != nullptr) {
            plugin->setPluginNamespace(mNamespace.c_str());
        }
        return plugin;
    }
    std::string mNamespace = kNamespace;
};

}  // namespace
