/* check.h: what every guest program shares.
 *
 * A guest prints one line per fact, so that the native run and the sandboxed run can be compared line by line:
 *   ok NAME / FAIL NAME     an expectation that must hold everywhere
 *   NAME: VALUE             a fact that must be the same natively and in sbox (errors by name: "stat: ENOENT")
 *   # text                  a measurement; never compared
 * The exit status is 1 if any line said FAIL. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

static int failures;

/* "ENOENT" for 2. */
UNUSED static const char *errname(int e) {
    const char *name = e ? strerrorname_np(e) : "0";
    return name ? name : "E?";
}

/* One expectation. The name may be a format. Returns the condition. */
UNUSED __attribute__((format(printf, 2, 3))) static int ok(int cond, const char *fmt, ...) {
    int e = errno;
    va_list ap;
    va_start(ap, fmt);
    fputs(cond ? "ok " : "FAIL ", stdout);
    vprintf(fmt, ap);
    if (!cond) {
        printf(" (errno %s)", errname(e));
        failures++;
    }
    putchar('\n');
    fflush(stdout);
    va_end(ap);
    return cond;
}

/* One fact to compare: the value returned, or the name of the error. */
UNUSED static long fact(const char *name, long r) {
    int e = errno;
    if (r == -1) printf("%s: %s\n", name, errname(e));
    else printf("%s: %ld\n", name, r);
    fflush(stdout);
    return r;
}

/* The same for calls that return a descriptor, whose number is of no interest. Closes it. */
UNUSED static void fact_fd(const char *name, int fd) {
    int e = errno;
    printf("%s: %s\n", name, fd < 0 ? errname(e) : "fd");
    fflush(stdout);
    if (fd >= 0) close(fd);
}

/* A measurement. */
UNUSED __attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("# ", stdout);
    vprintf(fmt, ap);
    putchar('\n');
    fflush(stdout);
    va_end(ap);
}

/* True if r failed with the errno e. */
#define fails(r, e) ((long)(r) == -1 && errno == (e))

UNUSED static long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

UNUSED static void sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {}
}

/* fork() with nothing left in stdio buffers to be printed twice. */
UNUSED static pid_t fork_clean(void) {
    fflush(NULL);
    pid_t p = fork();
    if (p < 0) { perror("fork"); exit(2); }
    return p;
}

/* Waits at most ms for a child: its wait status, or -1 when it is still running. */
UNUSED static int reap(pid_t p, long ms) {
    int st;
    for (long end = now_us() + ms * 1000;;) {
        pid_t r = waitpid(p, &st, WNOHANG);
        if (r == p) return st;
        if (r < 0 && errno != EINTR) return -2;
        if (now_us() > end) return -1;
        sleep_ms(1);
    }
}

/* Creates (or replaces) a file with this text. */
UNUSED static void put(const char *path, const char *text, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode) < 0) {
        fprintf(stderr, "put %s: %s\n", path, errname(errno));
        exit(2);
    }
    close(fd);
}

UNUSED static int finish(void) {
    fflush(NULL);
    return failures != 0;
}
#endif
