/* A libnvidia-ml.so.1 for machines without a GPU, driven by a file that may change at any time.
 *
 *   cc -shared -fPIC -o libnvidia-ml.so.1 nvml_stub.c [-DOLD_DRIVER]
 *
 * $NVML_STUB_STATE names the file; without one there is no driver. A line per GPU, figures as
 * NVML has them but memory in MiB and power in W, an underscore for a space:
 *
 *   0 name=H100_80GB util=97 used=70000 power=655 temp=64 xid=63 pid=1234:60000
 *   1 lost                                     fallen off the bus
 *   2 bare                                     knows its name, and supports nothing else
 *   3 refused                                  no permission, as in a container without the device
 *   4 fail=nvmlDeviceGetPowerUsage:4           that call gives that code (repeatable)
 *   5 hang=nvmlDeviceGetNvLinkState            that call does not return while the line says so
 *   6 mig=MIG_1g.10gb:4000:9856                an instance: name, MiB used, MiB in all (repeatable)
 *   hang                                       no call returns while this line is there
 *
 * reasons= (throttle bits) ecc=volatile/total remap=corr/unc/pending/failed recovery= links=up/all
 * tx= rx= (KiB) crc= pcie=gen/width clock= maxclock= memutil= memtemp= limit= total=
 * With OLD_DRIVER the newer functions are missing, as they are with an old driver.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_GPUS = 64, MAX_LISTED = 8, CACHE_MS = 20, MIB = 1 << 20 };
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15
};
typedef unsigned long long u64;
typedef struct { char name[64]; unsigned used, total; } Instance;
typedef struct { char call[64]; int code; } Fault;
typedef struct {
    unsigned present, lost, bare, refused;
    unsigned util, memutil, used, total, power, limit, temp, memtemp, clock, maxclock;
    unsigned remap[4], recovery, up, links, gen, width, xid, processes, instances, faults;
    u64 reasons, ecc, ecc_total, tx, rx, crc;
    unsigned pid[MAX_LISTED], mib[MAX_LISTED];
    char name[96], hang[64];
    Instance instance[MAX_LISTED];
    Fault fault[MAX_LISTED];
} Gpu;
typedef struct { unsigned gpu, instance; } Device; /* instance 0: the GPU itself */

/* Public NVML structures, as laid out in nvml.h. */
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { unsigned pid; u64 used; unsigned instance, compute_instance; } Process;
typedef struct { unsigned version, sensor; int celsius; } TemperatureV;
typedef struct { Device *device; u64 type, data; unsigned instance, compute_instance; } EventData;
typedef struct {
    unsigned id, scope; long long timestamp, latency; unsigned type; int status; u64 value;
} FieldValue;
typedef struct {
    char legacy_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32];
} PciInfo;
typedef struct { unsigned registered[MAX_GPUS], told[MAX_GPUS]; } EventSet;

static Gpu gpus[MAX_GPUS];
static Device devices[MAX_GPUS][MAX_LISTED + 1];
static unsigned gpu_count, wedged;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void parse(char *line)
{
    char *save, *word = strtok_r(line, " \n", &save);
    if (!word || *word == '#') return;
    if (!strcmp(word, "hang")) { wedged = 1; return; }
    unsigned index = (unsigned)atoi(word), a, b, c, d;
    if (index >= MAX_GPUS) return;
    Gpu *g = &gpus[index];
    *g = (Gpu){.present = 1, .name = "Stub GPU", .total = 81559, .limit = 700, .maxclock = 1980};
    while ((word = strtok_r(NULL, " \n", &save))) {
        char text[96];
        if (!strcmp(word, "lost")) g->lost = 1;
        else if (!strcmp(word, "bare")) g->bare = 1;
        else if (!strcmp(word, "refused")) g->refused = 1;
        else if (sscanf(word, "name=%95s", g->name) == 1) {
            for (char *at = g->name; *at; at++) if (*at == '_') *at = ' ';
        }
        else if (sscanf(word, "hang=%63s", g->hang) == 1) {}
        else if (sscanf(word, "fail=%63[^:]:%u", text, &a) == 2 && g->faults < MAX_LISTED) {
            strcpy(g->fault[g->faults].call, text);
            g->fault[g->faults++].code = (int)a;
        }
        else if (sscanf(word, "pid=%u:%u", &a, &b) == 2 && g->processes < MAX_LISTED) {
            g->pid[g->processes] = a;
            g->mib[g->processes++] = b;
        }
        else if (sscanf(word, "mig=%63[^:]:%u:%u", text, &a, &b) == 3 && g->instances < MAX_LISTED) {
            Instance *i = &g->instance[g->instances++];
            for (char *at = text; *at; at++) if (*at == '_') *at = ' ';
            strcpy(i->name, text);
            i->used = a, i->total = b;
        }
        else if (sscanf(word, "remap=%u/%u/%u/%u", &a, &b, &c, &d) == 4)
            g->remap[0] = a, g->remap[1] = b, g->remap[2] = c, g->remap[3] = d;
        else if (sscanf(word, "ecc=%llu/%llu", &g->ecc, &g->ecc_total) == 2) {}
        else if (sscanf(word, "links=%u/%u", &g->up, &g->links) == 2) {}
        else if (sscanf(word, "pcie=%u/%u", &g->gen, &g->width) == 2) {}
        else if (sscanf(word, "reasons=%llx", &g->reasons) == 1) {}
        else if (sscanf(word, "util=%u", &g->util) == 1) {}
        else if (sscanf(word, "memutil=%u", &g->memutil) == 1) {}
        else if (sscanf(word, "used=%u", &g->used) == 1) {}
        else if (sscanf(word, "total=%u", &g->total) == 1) {}
        else if (sscanf(word, "power=%u", &g->power) == 1) {}
        else if (sscanf(word, "limit=%u", &g->limit) == 1) {}
        else if (sscanf(word, "temp=%u", &g->temp) == 1) {}
        else if (sscanf(word, "memtemp=%u", &g->memtemp) == 1) {}
        else if (sscanf(word, "clock=%u", &g->clock) == 1) {}
        else if (sscanf(word, "maxclock=%u", &g->maxclock) == 1) {}
        else if (sscanf(word, "recovery=%u", &g->recovery) == 1) {}
        else if (sscanf(word, "xid=%u", &g->xid) == 1) {}
        else if (sscanf(word, "tx=%llu", &g->tx) == 1) {}
        else if (sscanf(word, "rx=%llu", &g->rx) == 1) {}
        else if (sscanf(word, "crc=%llu", &g->crc) == 1) {}
    }
}

/* Read the file again if that was a while ago; false if there is none. */
static int refresh(void)
{
    static u64 expires;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    u64 now = (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
    pthread_mutex_lock(&lock);
    int found = 1;
    if (now >= expires) {
        const char *path = getenv("NVML_STUB_STATE");
        FILE *file = path ? fopen(path, "re") : NULL;
        char line[2048];
        found = file != NULL;
        if (file) {
            wedged = 0;
            while (fgets(line, sizeof line, file)) parse(line);
            fclose(file);
            expires = now + CACHE_MS;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* What every call on a device does first: its state, or the code that the call shall give. */
static int enter(Device *device, const char *call, Gpu *state)
{
    if (!gpu_count) return UNINITIALIZED;
    for (;;) {
        refresh();
        pthread_mutex_lock(&lock);
        *state = gpus[device->gpu];
        int hangs = wedged || !strcmp(state->hang, call);
        pthread_mutex_unlock(&lock);
        if (!hangs) break;
        usleep(20000);
    }
    if (state->lost) return GPU_IS_LOST;
    if (state->refused) return NO_PERMISSION;
    for (unsigned i = 0; i < state->faults; i++)
        if (!strcmp(state->fault[i].call, call)) return state->fault[i].code;
    int basic = !strcmp(call, "nvmlDeviceGetHandleByIndex_v2") || !strcmp(call, "nvmlDeviceGetName")
        || !strcmp(call, "nvmlDeviceGetUUID");
    return state->bare && !basic ? NOT_SUPPORTED : SUCCESS;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (!refresh()) return DRIVER_NOT_LOADED;
    while (wedged) usleep(20000), refresh();
    for (gpu_count = 0; gpu_count < MAX_GPUS && gpus[gpu_count].present; gpu_count++)
        for (unsigned i = 0; i <= MAX_LISTED; i++) devices[gpu_count][i] = (Device){gpu_count, i};
    return SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpu_count; return SUCCESS; }

static int text(char *out, unsigned size, const char *value)
{
    return snprintf(out, size, "%s", value) < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text(out, size, "570.86.15"); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device)
{
    Gpu g;
    if (index >= gpu_count) return INVALID_ARGUMENT;
    *device = &devices[index][0];
    return enter(*device, __func__, &g);
}

#define GETTER(function, type, condition, expression)       \
    int function(Device *device, type *value)               \
    {                                                       \
        Gpu g;                                              \
        int code = enter(device, __func__, &g);             \
        if (code) return code;                              \
        if (!(condition)) return NOT_SUPPORTED;             \
        *value = (expression);                              \
        return SUCCESS;                                     \
    }
#define USED(g) (device->instance ? g.instance[device->instance - 1].used : g.used)
#define TOTAL(g) (device->instance ? g.instance[device->instance - 1].total : g.total)

GETTER(nvmlDeviceGetUtilizationRates, Utilization, !g.instances, ((Utilization){g.util, g.memutil}))
GETTER(nvmlDeviceGetMemoryInfo, Memory, 1,
       ((Memory){(u64)TOTAL(g) * MIB, (u64)(TOTAL(g) - USED(g)) * MIB, (u64)USED(g) * MIB}))
GETTER(nvmlDeviceGetPowerUsage, unsigned, 1, g.power * 1000)
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned, 1, g.limit * 1000)
GETTER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, g.gen, g.gen)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, g.width, g.width)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, u64, 1, g.reasons)
GETTER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 1, MAX_LISTED)
#ifndef OLD_DRIVER
GETTER(nvmlDeviceGetMemoryInfo_v2, MemoryV2, 1,
       ((MemoryV2){value->version, (u64)TOTAL(g) * MIB, 551ull * MIB, 0, (u64)USED(g) * MIB}))
GETTER(nvmlDeviceGetTemperatureV, TemperatureV, 1,
       ((TemperatureV){value->version, value->sensor, (int)g.temp}))
GETTER(nvmlDeviceGetCurrentClocksEventReasons, u64, 1, g.reasons)
#endif

#define SELECTOR(function, condition, expression)                     \
    int function(Device *device, unsigned which, unsigned *value)     \
    {                                                                 \
        Gpu g;                                                        \
        int code = enter(device, __func__, &g);                       \
        if (code) return code;                                        \
        if (!(condition)) return NOT_SUPPORTED;                       \
        *value = (expression);                                        \
        return SUCCESS;                                               \
    }
SELECTOR(nvmlDeviceGetTemperature, which == 0, g.temp)
SELECTOR(nvmlDeviceGetClockInfo, which == 1, g.clock)
SELECTOR(nvmlDeviceGetMaxClockInfo, which == 1, g.maxclock)
SELECTOR(nvmlDeviceGetNvLinkState, which < g.links, which < g.up)

int nvmlDeviceGetName(Device *device, char *out, unsigned size)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    return code ? code : text(out, size, device->instance ? g.instance[device->instance - 1].name : g.name);
}
int nvmlDeviceGetUUID(Device *device, char *out, unsigned size)
{
    Gpu g;
    char uuid[64];
    int code = enter(device, __func__, &g);
    snprintf(uuid, sizeof uuid, device->instance ? "MIG-stub-%u-%u" : "GPU-stub-%u", device->gpu,
             device->instance);
    return code ? code : text(out, size, uuid);
}
int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *pci)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    *pci = (PciInfo){.bus = 0x10 + device->gpu};
    snprintf(pci->id, sizeof pci->id, "00000000:%02X:00.0", pci->bus);
    return code;
}
int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    *current = *pending = g.instances > 0;
    return code;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **instance)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    if (code) return code;
    if (index >= g.instances) return NOT_FOUND;
    *instance = &devices[device->gpu][index + 1];
    return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(Device *device, unsigned type, unsigned counter, u64 *count)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    *count = type ? (counter ? g.ecc_total : g.ecc) : 0;
    return code;
}
static int processes(Device *device, const char *call, unsigned *count, Process *list)
{
    Gpu g;
    int code = enter(device, call, &g);
    unsigned room = *count;
    if (code) return code;
    *count = g.processes;
    if (g.processes > room) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < g.processes; i++)
        list[i] = (Process){g.pid[i], (u64)g.mib[i] * MIB, ~0u, ~0u};
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, Process *list)
{
    return processes(device, __func__, count, list);
}
#ifndef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *list)
{
    return processes(device, __func__, count, list);
}
int nvmlDeviceGetRemappedRows(Device *device, unsigned *correctable, unsigned *uncorrectable,
                              unsigned *pending, unsigned *failed)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    *correctable = g.remap[0], *uncorrectable = g.remap[1];
    *pending = g.remap[2], *failed = g.remap[3];
    return code;
}
int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *values)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    if (code) return code;
    for (int i = 0; i < count; i++) {
        FieldValue *v = &values[i];
        v->status = SUCCESS, v->type = 3;
        switch (v->id) {
        case 82: v->type = 1, v->value = g.memtemp; break;
        case 230: v->type = 1, v->value = g.recovery; break;
        case 138: v->value = g.tx; break;
        case 139: v->value = g.rx; break;
        case 38: v->value = g.crc; break;
        default: v->status = NOT_SUPPORTED, v->value = 12345;
        }
        if (v->id < 200 && v->id != 82 && !g.links) v->status = NOT_SUPPORTED;
    }
    return SUCCESS;
}
#endif

int nvmlEventSetCreate(EventSet **set) { *set = calloc(1, sizeof **set); return SUCCESS; }
int nvmlEventSetFree(EventSet *set) { free(set); return SUCCESS; }
int nvmlDeviceRegisterEvents(Device *device, u64 types, EventSet *set)
{
    Gpu g;
    int code = enter(device, __func__, &g);
    if (!code) set->registered[device->gpu] = (types & 8) != 0;
    return code;
}
/* An Xid is told once, when the file first has it. */
int nvmlEventSetWait_v2(EventSet *set, EventData *event, unsigned timeout_ms)
{
    for (unsigned waited = 0;; waited += 100) {
        refresh();
        for (unsigned i = 0; i < gpu_count; i++) {
            unsigned xid = gpus[i].lost && !gpus[i].xid ? 79 : gpus[i].xid;
            if (!set->registered[i] || xid == set->told[i]) continue;
            set->told[i] = xid;
            if (!xid) continue;
            *event = (EventData){&devices[i][0], 8, xid, ~0u, ~0u};
            return SUCCESS;
        }
        if (waited >= timeout_ms) return TIMEOUT;
        usleep(100000);
    }
}
