/* A libnvidia-ml.so.1 for machines without a GPU: as many GPUs as $NVML_STUB_GPUS says.
 *
 *   cc -shared -fPIC -o libnvidia-ml.so.1 nvml_stub.c
 *
 * GPU 0 has figures and one process ($NVML_STUB_PID), GPU 1 knows only its name, the others have
 * fallen off the bus. With $NVML_STUB_HANG=1 nvmlInit never returns, as with a wedged driver.
 * Functions that are missing here are missing, as with an old driver.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
typedef unsigned long long u64;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned pid; u64 used; unsigned instance, compute_instance; } Process;

static int gpus[64];
static int check(int *gpu) { return *gpu == 0 ? SUCCESS : *gpu == 1 ? NOT_SUPPORTED : GPU_IS_LOST; }
static unsigned number(const char *name) { const char *v = getenv(name); return v ? atoi(v) : 0; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    while (number("NVML_STUB_HANG")) pause();
    for (int i = 0; i < 64; i++) gpus[i] = i;
    return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = number("NVML_STUB_GPUS"); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, int **gpu) {
    *gpu = &gpus[i];
    return i < 2 ? SUCCESS : GPU_IS_LOST;
}
int nvmlDeviceGetName(int *gpu, char *name, unsigned length) {
    (void)gpu;
    strncpy(name, "Stub GPU \x1b[31m", length);
    return SUCCESS;
}
int nvmlDeviceGetUUID(int *gpu, char *uuid, unsigned length) {
    (void)gpu;
    strncpy(uuid, "GPU-stub", length);
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(int *gpu, Utilization *u) { u->gpu = 97; u->memory = 5; return check(gpu); }
int nvmlDeviceGetMemoryInfo(int *gpu, Memory *m) { m->total = 1000; m->used = 400; m->free = 600; return check(gpu); }
int nvmlDeviceGetPowerUsage(int *gpu, unsigned *mw) { *mw = 655500; return check(gpu); }
int nvmlDeviceGetTemperature(int *gpu, unsigned sensor, unsigned *t) { (void)sensor; *t = 64; return check(gpu); }
int nvmlDeviceGetComputeRunningProcesses_v3(int *gpu, unsigned *count, Process *list) {
    if (check(gpu)) return check(gpu);
    if (*count < 1) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    list[0].pid = number("NVML_STUB_PID");
    list[0].used = 350;
    return SUCCESS;
}
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }
