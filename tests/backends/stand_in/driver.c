/* A CUDA driver without a GPU: its "device memory" is the host's. Built by tests/backends/test_trt.py. */
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
enum { OUT_OF_MEMORY = 2, NO_DEVICE = 101, NO_CONTEXT = 201, BAD_HANDLE = 400 };
#define CONTEXT ((void *)1)
#define STREAM ((void *)7)

static __thread void *current;

int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = 0; return index ? NO_DEVICE : 0; }
int cuDeviceGetName(char *name, int size, int device) {
    const char *asked = getenv("STAND_IN_GPU");
    strncpy(name, asked ? asked : "NVIDIA Stand-in 9000", size);
    return device;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : -1;
    return device;
}
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = CONTEXT; return device; }
int cuCtxSetCurrent(void *context) { current = context; return context == CONTEXT ? 0 : NO_CONTEXT; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device; }
int cuStreamCreate(void **stream, unsigned flags) {
    *stream = STREAM;
    return current != CONTEXT ? NO_CONTEXT : flags == 1 ? 0 : 1;
}
int cuStreamDestroy_v2(void *stream) { return stream == STREAM ? 0 : BAD_HANDLE; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *free = 6ull << 30, *total = 8ull << 30;
    return current == CONTEXT ? 0 : NO_CONTEXT;
}
int cuStreamSynchronize(void *stream) { return stream == STREAM ? 0 : BAD_HANDLE; }
int cuMemAlloc_v2(address *at, size_t size) {
    if (current != CONTEXT) return NO_CONTEXT;
    if (size > 1u << 30) return OUT_OF_MEMORY;
    *at = (address)malloc(size);
    return 0;
}
int cuMemAllocHost_v2(void **at, size_t size) { *at = malloc(size); return current == CONTEXT ? 0 : NO_CONTEXT; }
int cuMemFreeHost(void *at) { free(at); return 0; }
int cuMemFree_v2(address at) { free((void *)at); return 0; }

/* A graph is the copies and the engine's runs of one capture. What is captured is not done then. */
typedef struct { void *to; const void *from; size_t size; void (*run)(void *); } step;
typedef struct { step steps[16]; int count; } graph;
static __thread graph *capturing;

static int kept(step one) {
    if (!capturing) return 0;
    if (capturing->count < 16) capturing->steps[capturing->count++] = one;
    return 1;
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t size, void *stream) {
    if (!kept((step){(void *)to, from, size, 0})) memcpy((void *)to, from, size);
    return current != CONTEXT ? NO_CONTEXT : stream == STREAM ? 0 : BAD_HANDLE;
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t size, void *stream) {
    if (!kept((step){to, (void *)from, size, 0})) memcpy(to, (void *)from, size);
    return current != CONTEXT ? NO_CONTEXT : stream == STREAM ? 0 : BAD_HANDLE;
}
int cuStreamBeginCapture_v2(void *stream, int mode) {
    capturing = calloc(1, sizeof(graph));
    return stream == STREAM && mode == 1 ? 0 : BAD_HANDLE;
}
int cuStreamEndCapture(void *stream, void **made) {
    *made = capturing, capturing = 0;
    return stream == STREAM ? 0 : BAD_HANDLE;
}
int cuGraphInstantiateWithFlags(void **ready, graph *made, unsigned long long flags) {
    *ready = memcpy(malloc(sizeof(graph)), made, sizeof(graph));
    return flags ? BAD_HANDLE : 0;
}
int cuGraphDestroy(void *made) { free(made); return 0; }
int cuGraphExecDestroy(void *ready) { free(ready); return 0; }
int cuGraphLaunch(graph *ready, void *stream) {
    for (int i = 0; i < ready->count; i++)
        if (ready->steps[i].run) ready->steps[i].run(0);
        else memcpy(ready->steps[i].to, ready->steps[i].from, ready->steps[i].size);
    return stream == STREAM ? 0 : BAD_HANDLE;
}
/* Not CUDA's: how the stand-in for TensorRT tells of a run. 1: it is captured, and not to be done now. */
int stand_in_run(void (*run)(void *)) { return kept((step){0, 0, 0, run}); }

int cuGetErrorString(int code, const char **text) { *text = code == NO_CONTEXT ? "no context" : "an error"; return 0; }
