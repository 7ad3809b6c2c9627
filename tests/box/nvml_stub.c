/* A driver for tests: NVML's C interface over files of a folder, $NVML_STUB.
 *
 * count holds the number of GPUs; N/KEY one number of GPU N: util, mem_used, mem_total, temp, ecc,
 * reasons, xid (taken when it was told), lost, pid and held (a process and its memory). A key that
 * is missing is not supported. It is a driver before 510: process lists have their second version.
 * Types and codes are those of NVIDIA's NVML API reference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNSUPPORTED = 3, NOT_FOUND = 6, SHORT = 7, TIMEOUT = 10, LOST = 15 };
typedef unsigned long long u64;
typedef struct gpu { int index; } *device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { u64 total, free, used; } memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
typedef struct { device gpu; u64 kind, data; unsigned instance, compute; } event;

typedef struct { unsigned pid; u64 used; unsigned instance, compute; } process;

static struct gpu gpus[64];

static int number(int index, const char *key, u64 *found) {
    char path[4096];
    const char *root = getenv("NVML_STUB");
    if (index < 0) snprintf(path, sizeof path, "%s/%s", root, key);
    else snprintf(path, sizeof path, "%s/%d/%s", root, index, key);
    FILE *file = fopen(path, "r");
    if (!file) return UNSUPPORTED;
    int good = fscanf(file, "%llu", found) == 1;
    fclose(file);
    return good ? OK : UNSUPPORTED;
}

static int of(device gpu, const char *key, u64 *found) {
    u64 lost;
    if (number(gpu->index, "lost", &lost) == OK) return LOST;
    return number(gpu->index, key, found);
}

static int small(device gpu, const char *key, unsigned *found) {
    u64 value;
    int code = of(gpu, key, &value);
    if (code == OK) *found = (unsigned)value;
    return code;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return OK; }
int nvmlInit_v2(void) { return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    u64 found = 0;
    int code = number(-1, "count", &found);
    *count = (unsigned)found;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu) {
    u64 lost;
    if (number((int)index, "lost", &lost) == OK) return LOST;
    gpus[index].index = (int)index;
    *gpu = &gpus[index];
    return OK;
}

int nvmlDeviceGetUUID(device gpu, char *text, unsigned length) {
    snprintf(text, length, "GPU-stub-%d", gpu->index);
    return OK;
}

int nvmlDeviceGetName(device gpu, char *text, unsigned length) {
    (void)gpu;
    snprintf(text, length, "NVIDIA Stub");
    return OK;
}

int nvmlDeviceGetUtilizationRates(device gpu, utilization *rates) {
    int code = small(gpu, "util", &rates->gpu);
    rates->memory = 0;
    return code;
}

int nvmlDeviceGetMemoryInfo(device gpu, memory *found) {
    memset(found, 0, sizeof *found);
    int code = of(gpu, "mem_total", &found->total);
    return code ? code : of(gpu, "mem_used", &found->used);
}

int nvmlDeviceGetMemoryInfo_v2(device gpu, memory_v2 *found) {
    int code = of(gpu, "mem_total", &found->total);
    return code ? code : of(gpu, "mem_used", &found->used);
}

int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned *found) {
    (void)sensor;
    return small(gpu, "temp", found);
}

int nvmlDeviceGetTotalEccErrors(device gpu, int kind, int counter, u64 *found) {
    return kind == 1 && counter == 0 ? of(gpu, "ecc", found) : UNSUPPORTED;
}

int nvmlDeviceGetCurrentClocksEventReasons(device gpu, u64 *found) {
    return of(gpu, "reasons", found);
}

int nvmlDeviceGetComputeRunningProcesses_v2(device gpu, unsigned *count, process *found) {
    u64 pid, held;
    if (of(gpu, "pid", &pid) != OK) { *count = 0; return OK; }
    if (*count < 1 || !found) { *count = 1; return SHORT; }
    *count = 1;
    memset(found, 0, sizeof *found);
    found->pid = (unsigned)pid;
    found->used = of(gpu, "held", &held) == OK ? held : ~0ULL;
    return OK;
}

int nvmlEventSetCreate(void **set) { *set = gpus; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }

int nvmlDeviceRegisterEvents(device gpu, u64 kinds, void *set) {
    (void)gpu; (void)set;
    return kinds == 8 ? OK : UNSUPPORTED;
}

int nvmlEventSetWait_v2(void *set, event *found, unsigned milliseconds) {
    (void)set; (void)milliseconds;
    u64 count = 0;
    number(-1, "count", &count);
    for (int index = 0; index < (int)count; index++) {
        char path[4096];
        if (number(index, "xid", &found->data) != OK) continue;
        snprintf(path, sizeof path, "%s/%d/xid", getenv("NVML_STUB"), index);
        unlink(path);
        found->gpu = &gpus[index];
        found->kind = 8;
        return OK;
    }
    return TIMEOUT;
}
