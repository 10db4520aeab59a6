/* Preloaded into a node under test: slows, hangs and fails what it asks of the disk, and stops a
 * thread between two lines. Orders lie in a file that both processes have mapped (ATTACK_CONTROL);
 * tests/attack/shim.rs writes them and says what they mean. Without the file nothing is changed.
 *
 * Nothing here may call a function that it interposes, allocate, or use the C library's locks.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 16 };
enum { OFF = 0, ARMED = 1 };
enum { DELAY = 0, HANG = 1, FAIL = 2 };
enum { SYNC = 1, WRITE = 2, READ = 4, ALLOCATE = 8, CLOCK = 16, OPEN = 32 };

struct rule {
    uint32_t state;
    uint32_t ops;
    uint32_t action;
    int32_t error;
    uint32_t delay_ms;
    uint32_t hits;    /* matches that counted */
    uint32_t hanging; /* threads that wait in it now */
    int32_t clock;    /* CLOCK: which one */
    uint32_t woken;   /* CLOCK: the thread has come out of epoll_wait since the rule was armed */
    char thread[16];  /* "": any; "main": the first one; else how its name begins */
    char path[200];   /* "": any; else a part of the file's path, with a $ at its end: its end */
};

static struct rule *rules;

static uint32_t load(uint32_t *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }

__attribute__((constructor)) static void begin(void) {
    extern char **environ;
    for (char **at = environ; *at; at++) {
        if (strncmp(*at, "ATTACK_CONTROL=", 15)) continue;
        int fd = syscall(SYS_openat, AT_FDCWD, *at + 15, O_RDWR | O_CLOEXEC, 0);
        if (fd < 0) return;
        void *map = mmap(NULL, RULES * sizeof(struct rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        syscall(SYS_close, fd);
        if (map != MAP_FAILED) rules = map;
    }
}

static int is_thread(struct rule *r) {
    if (!r->thread[0]) return 1;
    if (!strcmp(r->thread, "main")) return syscall(SYS_gettid) == getpid();
    char name[17] = {0};
    prctl(PR_GET_NAME, name);
    return !strncmp(name, r->thread, strlen(r->thread));
}

/* `name`: of a file that is to be opened; else it is open. */
static int is_path(struct rule *r, int fd, const char *name) {
    if (!r->path[0]) return 1;
    char path[4096] = {0}, link[64];
    if (!name) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1) < 0) return 0;
        name = path;
    }
    size_t length = strlen(name), part = strlen(r->path) - 1;
    if (r->path[part] != '$') return strstr(name, r->path) != NULL;
    return length >= part && !memcmp(name + length - part, r->path, part);
}

static void nap(uint32_t ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    syscall(SYS_nanosleep, &t, NULL);
}

/* What is ordered for this call: 0, or -1 with errno set. */
static int obey_named(uint32_t op, int fd, const char *name) {
    if (!rules) return 0;
    int saved = errno;
    for (struct rule *r = rules; r < rules + RULES; r++) {
        if (load(&r->state) != ARMED || !(r->ops & op) || !is_thread(r)) continue;
        if (op == CLOCK) {
            if (r->clock != fd || !load(&r->woken)) continue;
        } else if (!is_path(r, fd, name)) {
            continue;
        }
        __atomic_fetch_add(&r->hits, 1, __ATOMIC_SEQ_CST);
        if (r->action == FAIL) {
            errno = r->error;
            return -1;
        }
        if (r->action == DELAY) nap(r->delay_ms);
        if (r->action == HANG) {
            __atomic_fetch_add(&r->hanging, 1, __ATOMIC_SEQ_CST);
            while (load(&r->state) == ARMED) nap(1);
            __atomic_fetch_sub(&r->hanging, 1, __ATOMIC_SEQ_CST);
        }
    }
    errno = saved;
    return 0;
}

static int obey(uint32_t op, int fd) { return obey_named(op, fd, NULL); }

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return obey_named(OPEN, -1, path) ? -1 : syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fdatasync(int fd) { return obey(SYNC, fd) ? -1 : syscall(SYS_fdatasync, fd); }
int fsync(int fd) { return obey(SYNC, fd) ? -1 : syscall(SYS_fsync, fd); }

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) {
    return obey(WRITE, fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, n, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwrite64(fd, bytes, n, at); }

ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) {
    return obey(WRITE, fd) ? -1 : syscall(SYS_pwritev, fd, v, (long)n, (long)at, 0L);
}
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return pwritev64(fd, v, n, at); }

ssize_t pread64(int fd, void *bytes, size_t n, off_t at) {
    return obey(READ, fd) ? -1 : syscall(SYS_pread64, fd, bytes, n, at);
}
ssize_t pread(int fd, void *bytes, size_t n, off_t at) { return pread64(fd, bytes, n, at); }

int fallocate64(int fd, int mode, off_t at, off_t n) {
    return obey(ALLOCATE, fd) ? -1 : syscall(SYS_fallocate, fd, mode, at, n);
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

int epoll_wait(int fd, struct epoll_event *events, int most, int ms) {
    int n = syscall(SYS_epoll_pwait, fd, events, most, ms, NULL, 0);
    for (struct rule *r = rules; r && r < rules + RULES; r++) {
        int waits = load(&r->state) == ARMED && (r->ops & CLOCK) && !load(&r->woken);
        if (waits && is_thread(r)) __atomic_store_n(&r->woken, 1, __ATOMIC_SEQ_CST);
    }
    return n;
}

int clock_gettime(clockid_t clock, struct timespec *to) {
    static int (*real)(clockid_t, struct timespec *);
    int (*call)(clockid_t, struct timespec *) = __atomic_load_n(&real, __ATOMIC_RELAXED);
    if (!call) {
        call = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        __atomic_store_n(&real, call, __ATOMIC_RELAXED);
    }
    int result = call(clock, to); /* the reading is taken, then the thread stops */
    obey(CLOCK, clock);
    return result;
}
