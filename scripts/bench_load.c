/* For scripts/bench_snapshot.py and bench_pauses.py: SETs at a fixed rate, each at its own moment, until SIGTERM; what is late
 * counts from that moment. Then one line of JSON.
 *
 *   bench_load PORT RATE CONNECTIONS KEYS VALUE_BYTES    (of 0 keys: PINGs)
 *
 * redis-benchmark has no rate, and Python is too slow for half of what a server can do. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WAITING = 1 << 16, BUCKETS = 1 << 20 }; /* a bucket is 10 us; the last one has the rest */

struct conn {
    int fd;
    uint64_t due[MOST_WAITING]; /* of the requests without an answer, a ring */
    uint32_t first, waiting;
    int in_reply; /* bytes of an answer that have come: "+OK\r\n" */
    char first_byte;
    char *out; /* what the socket did not take */
    size_t out_len;
};

static volatile sig_atomic_t ends;
static uint32_t times[BUCKETS];
static uint64_t answered, errors, longest, dropped;

static void stop(int signal) { (void)signal; ends = 1; }

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t chance(void) {
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

static void die(const char *what) { perror(what); exit(1); }

static void took(uint64_t ns) {
    uint64_t bucket = ns / 10000;
    times[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    answered++;
    if (ns > longest) longest = ns;
}

static void flush(struct conn *c) {
    while (c->out_len) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) die("send");
        memmove(c->out, c->out + n, c->out_len -= n);
    }
}

/* Every answer is a line. */
static void receive(struct conn *c) {
    char bytes[65536];
    for (;;) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) die("the server closed the connection");
        uint64_t at = now();
        for (ssize_t i = 0; i < n; i++) {
            if (!c->in_reply++) c->first_byte = bytes[i];
            if (bytes[i] != '\n') continue;
            c->in_reply = 0;
            errors += c->first_byte == '-';
            took(at - c->due[c->first]);
            c->first = (c->first + 1) % MOST_WAITING, c->waiting--;
        }
    }
}

static double at(double part) {
    uint64_t left = part * answered, sum = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((sum += times[i]) > left) return (i + 1) / 100.0;
    return longest / 1e6;
}

static int set(char *body, uint64_t key, int value) {
    int n = sprintf(body, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%d\r\n", (unsigned long long)key, value);
    for (int i = 0; i < value; i++) body[n++] = 'a' + (chance() & 15);
    return n + sprintf(body + n, "\r\n");
}

int main(int argc, char **argv) {
    if (argc != 6) return 64;
    int port = atoi(argv[1]), count = atoi(argv[3]), value = atoi(argv[5]);
    uint64_t keys = strtoull(argv[4], 0, 10);
    double spacing = 1e9 / atof(argv[2]);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, 0);
    struct conn *conns = calloc(count, sizeof *conns);
    int poll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = conns[i].fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct epoll_event wants = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wants)) die("epoll_ctl");
        conns[i].out = malloc(MOST_WAITING * (size_t)(value + 80));
    }
    char *body = malloc(value + 128);
    prctl(PR_SET_TIMERSLACK, 1000);
    /* What shares this core (a new replica does) must not look like time that the server took; where it is not allowed it may. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    uint64_t sent = 0, began = now();
    while (!ends) {
        uint64_t at = now(), due;
        while ((due = began + (uint64_t)(sent * spacing)) <= at) {
            struct conn *c = &conns[sent++ % count];
            if (c->waiting == MOST_WAITING) { dropped++; continue; }
            int n = keys ? set(body, chance() % keys, value) : sprintf(body, "*1\r\n$4\r\nPING\r\n");
            memcpy(c->out + c->out_len, body, n), c->out_len += n;
            c->due[(c->first + c->waiting++) % MOST_WAITING] = due;
            flush(c);
        }
        for (int i = 0; i < count; i++) flush(&conns[i]);
        struct timespec wait = {0, due > at ? due - at : 0};
        if (wait.tv_nsec > 1000000) wait.tv_nsec = 1000000;
        struct epoll_event events[256];
        int n = epoll_pwait2(poll, events, 256, &wait, 0);
        for (int i = 0; i < n; i++) receive(&conns[events[i].data.u32]);
    }
    double seconds = (now() - began) / 1e9;
    /* What has no answer yet has waited at least for so long. */
    uint64_t end = now();
    for (int i = 0; i < count; i++)
        for (uint32_t k = 0; k < conns[i].waiting; k++) took(end - conns[i].due[(conns[i].first + k) % MOST_WAITING]);
    printf("{\"requests\": %llu, \"seconds\": %.3f, \"errors\": %llu, \"dropped\": %llu, \"p50\": %.2f, \"p99\": %.2f, "
           "\"p999\": %.2f, \"max\": %.2f}\n",
           (unsigned long long)answered, seconds, (unsigned long long)errors, (unsigned long long)dropped, at(0.5), at(0.99),
           at(0.999), longest / 1e6);
    return 0;
}
