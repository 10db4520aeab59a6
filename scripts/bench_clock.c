/* For scripts/bench_instructions.py, preloaded into a server that is counted: from SIGUSR2 on the clock stands, and
 * epoll_wait waits for an event however long that takes. So nothing that the server does depends on time. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stands;
static struct timespec at[16];

static void stop(int signal) {
    (void)signal;
    for (int id = 0; id < 16; id++) syscall(SYS_clock_gettime, id, &at[id]);
    stands = 1;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGUSR2, &action, 0);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (!stands || id < 0 || id > 15) return (int)syscall(SYS_clock_gettime, id, now);
    *now = at[id];
    return 0;
}

int epoll_wait(int poll, struct epoll_event *events, int most, int timeout) {
    return (int)syscall(SYS_epoll_pwait, poll, events, most, stands && timeout > 0 ? -1 : timeout, 0, 8);
}
