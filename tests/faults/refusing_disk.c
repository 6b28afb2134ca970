/* A disk that refuses: preloaded, it answers calls that change files below REFUSE_ROOT with REFUSE_ERRNO.
 *
 * REFUSE_AT is the number of the first call that is refused (none: calls are only counted), and REFUSE_HOW
 * is `once` or `on`, from there on. With REFUSE_READS the calls that read are refused instead. At the end the
 * number of calls is written to the file REFUSE_COUNT.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *root;
static long first = -1;
static int number, once, reads;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("REFUSE_AT"), *how = getenv("REFUSE_HOW"), *code = getenv("REFUSE_ERRNO");
    root = getenv("REFUSE_ROOT");
    first = at ? atol(at) : -1;
    number = code ? atoi(code) : EIO;
    once = how && strcmp(how, "once") == 0;
    reads = getenv("REFUSE_READS") != NULL;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("REFUSE_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", (long)count);
        fclose(file);
    }
}

static int below(const char *path) {
    char whole[PATH_MAX];
    if (!root || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, sizeof whole) || strlen(whole) + strlen(path) + 2 > sizeof whole) return 0;
        strcat(strcat(whole, "/"), path);
        path = whole;
    }
    return strncmp(path, root, strlen(root)) == 0;
}

static int open_below(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = root ? readlink(link, path, sizeof path - 1) : -1;
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int refused(int reading) {
    if (reading != reads) return 0;
    long now = atomic_fetch_add(&count, 1);
    if (first < 0 || now < first || (once && now > first)) return 0;
    errno = number;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...) {                              \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        mode_t mode = va_arg(rest, mode_t);                                    \
        va_end(rest);                                                          \
        if (below(path) && refused(!writes(flags))) return -1;                 \
        return NEXT(name)(path, flags, mode);                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                           \
    int name(int folder, const char *path, int flags, ...) {                  \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        mode_t mode = va_arg(rest, mode_t);                                    \
        va_end(rest);                                                          \
        if (below(path) && refused(!writes(flags))) return -1;                 \
        return NEXT(name)(folder, path, flags, mode);                          \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    return open_below(file) && refused(0) ? -1 : NEXT(write)(file, data, size);
}
ssize_t writev(int file, const struct iovec *parts, int n) {
    return open_below(file) && refused(0) ? -1 : NEXT(writev)(file, parts, n);
}
ssize_t read(int file, void *data, size_t size) {
    return open_below(file) && refused(1) ? -1 : NEXT(read)(file, data, size);
}
int fsync(int file) { return open_below(file) && refused(0) ? -1 : NEXT(fsync)(file); }
int mkdir(const char *path, mode_t mode) { return below(path) && refused(0) ? -1 : NEXT(mkdir)(path, mode); }
int rename(const char *old, const char *now) {
    return below(now) && refused(0) ? -1 : NEXT(rename)(old, now);
}
int unlink(const char *path) { return below(path) && refused(0) ? -1 : NEXT(unlink)(path); }
int rmdir(const char *path) { return below(path) && refused(0) ? -1 : NEXT(rmdir)(path); }
int unlinkat(int folder, const char *path, int flags) {
    return open_below(folder) && refused(0) ? -1 : NEXT(unlinkat)(folder, path, flags);
}
int ftruncate64(int file, off64_t size) {
    return open_below(file) && refused(0) ? -1 : NEXT(ftruncate64)(file, size);
}
int truncate64(const char *path, off64_t size) {
    return below(path) && refused(0) ? -1 : NEXT(truncate64)(path, size);
}
