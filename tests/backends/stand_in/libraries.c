/* The nine C symbols that TensorRT's bindings look for in its three libraries when they are imported. */
#define GIVES_NOTHING(name) void *name(void) { return 0; }
GIVES_NOTHING(createInferBuilder_INTERNAL)
GIVES_NOTHING(createInferRefitter_INTERNAL)
GIVES_NOTHING(createInferRuntime_INTERNAL)
GIVES_NOTHING(getBuilderPluginRegistry)
GIVES_NOTHING(getPluginRegistry)
GIVES_NOTHING(createNvOnnxParser_INTERNAL)
GIVES_NOTHING(createNvOnnxParserRefitter_INTERNAL)
GIVES_NOTHING(initLibNvInferPlugins)
int getNvOnnxParserVersion(void) { return 0; }
