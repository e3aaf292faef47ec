/* all_numbers: no system call, by any number or any gate, reaches a hidden file. Link statically.
 *
 *   all_numbers HIDDEN ABSENT DIR
 *
 * HIDDEN exists on the host but not in the view (it holds SECRET-MARKER and is 7654321 bytes long); ABSENT, of the
 * same length, exists nowhere; DIR is the visible directory both are in. Every number 0-500 is tried in a forked
 * child with several argument shapes, once with HIDDEN and once with ABSENT: the outcome must be the same, and the
 * marker or the size must never turn up. Then the same numbers by int 0x80 and with the x32 bit, and numbers that
 * no kernel has: ENOSYS. Not to be run natively: it would succeed at a lot of things. */
#include "check.h"
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>

enum { SIZE = 7654321, LAST = 500, BUFSIZE = 8192 };
static const char MARKER[] = "SECRET-MARKER";

/* One attempt's report, written by the child into shared memory. */
static struct report { volatile long ret; volatile int done, leaked; } *report;
static char *pathbuf, *pathbuf2, *out;
static const char *name_in_dir[2], *full[2];
static int dirfd_;

static long raw(long nr, const long a[6]) {
    long ret;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(ret)
                     : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

static long int80(long nr, const long a[6]) {
    long ret;
    __asm__ volatile("push %%rbp; int $0x80; pop %%rbp" : "=a"(ret)
                     : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "r8", "r9", "r10", "r11", "memory");
    return ret;
}

/* Calls left out: they end or fork this very child, resume whatever was interrupted last, or (were they let through as root) would change the host's clock,
 * name or power state and say nothing about files. */
static int left_out(long nr) {
    static const long no[] = {
        SYS_exit, SYS_exit_group, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3, SYS_reboot, SYS_kexec_load, SYS_kexec_file_load,
        SYS_restart_syscall, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_vhangup};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (nr == no[i]) return 1;
    return 0;
}

enum { SHAPES = 9 };
/* Fills the arguments of one shape; which: 0 hidden, 1 absent. */
static void shape(int s, int which, long a[6]) {
    static struct { uint64_t flags, mode, resolve; } how;
    memset(out, 0, BUFSIZE);
    strcpy(pathbuf, s == 4 || s == 5 ? name_in_dir[which] : full[which]);
    strcpy(pathbuf2, full[which]);
    strcat(pathbuf2, ".2");
    long p = (long)pathbuf, b = (long)out;
    const long shapes[SHAPES][6] = {
        {p, 0, 0, 0, 0, 0},                                 /* open, unlink, rmdir, chdir, execve … */
        {p, b, BUFSIZE, 0, 0, 0},                           /* stat, readlink, listxattr … */
        {AT_FDCWD, p, 0, 0, 0, 0},                          /* openat, unlinkat, faccessat … */
        {AT_FDCWD, p, b, 0x7ff, b, 0},                      /* newfstatat, readlinkat; statx wants its buffer fifth */
        {dirfd_, p, b, 0, b, 0},                            /* the same by directory descriptor */
        {dirfd_, p, 0, 0x7ff, b, 0},                        /* statx(dirfd, name, 0, mask, buf) */
        {p, (long)pathbuf2, 0, 0, 0, 0},                    /* rename, link, symlink, mount … */
        {AT_FDCWD, p, AT_FDCWD, (long)pathbuf2, 0, 0},      /* renameat, linkat … */
        {AT_FDCWD, p, (long)&how, sizeof how, b, BUFSIZE},  /* openat2, the *at calls that take a struct */
    };
    memcpy(a, shapes[s], sizeof shapes[s]);
}

static int holds_secret(const char *buf, size_t n) {
    uint64_t size = SIZE;
    return memmem(buf, n, MARKER, sizeof MARKER - 1) || memmem(buf, n, &size, sizeof size);
}

/* Makes the call and looks at everything it may have given. */
static void attempt(long nr, int s, int which) {
    long a[6];
    shape(s, which, a);
    pid_t self = getpid();
    long r = raw(nr, a);
    if (getpid() != self) _exit(0);
    report->leaked = holds_secret(out, BUFSIZE);
    if (r > 2 && r < 1024 && r != dirfd_ && fcntl(r, F_GETFD) >= 0) {
        struct stat st;
        if (fstat(r, &st) == 0 && st.st_size == SIZE) report->leaked = 1;
        ssize_t got = pread(r, out, BUFSIZE, 0);
        if (got > 0 && holds_secret(out, got)) report->leaked = 1;
    }
    report->ret = r;
    report->done = 1;
}

/* One attempt in a child of its own: "errno", "value", or how it ended. */
static long outcome(long nr, int s, int which, long ms, int *leaked) {
    memset(report, 0, sizeof *report);
    pid_t p = fork_clean();
    if (p == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct itimerval it = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
        setitimer(ITIMER_REAL, &it, NULL);
        attempt(nr, s, which);
        _exit(0);
    }
    int st = reap(p, ms + 3000);
    if (st == -1) { kill(p, SIGKILL); waitpid(p, NULL, 0); return -9999; }
    *leaked = report->leaked;
    if (report->done) return report->ret < 0 ? report->ret : 1;
    return WIFSIGNALED(st) ? -10000 - WTERMSIG(st) : -20000;
}

static void every_number(void) {
    int bad = 0, tried = 0;
    for (long nr = 0; nr <= LAST; nr++) {
        if (left_out(nr)) continue;
        for (int s = 0; s < SHAPES; s++) {
            int leak_h = 0, leak_a = 0;
            long h = outcome(nr, s, 0, 40, &leak_h), a = outcome(nr, s, 1, 40, &leak_a);
            if (h != a) {                   /* slow or truly different? */
                h = outcome(nr, s, 0, 500, &leak_h);
                a = outcome(nr, s, 1, 500, &leak_a);
            }
            tried++;
            if (leak_h) bad++, ok(0, "number %ld shape %d shows the hidden file", nr, s);
            if (h != a) bad++, ok(0, "number %ld shape %d: hidden gives %ld, absent gives %ld", nr, s, h, a);
        }
    }
    ok(bad == 0, "hidden and absent are the same for every number and shape");
    note("%d attempts", tried);
}

/* Numbers that must not exist, 20 to a child, each with two shapes. */
static void must_be_enosys(const char *gate, long (*call)(long, const long[6]), long from, long to) {
    int bad = 0, faults = 0;
    for (long nr = from; nr < to; nr++) {
        memset(report, 0, sizeof *report);
        pid_t p = fork_clean();
        if (p == 0) {
            pid_t self = getpid();
            alarm(1);
            for (int s = 0; s < 3; s += 2) {
                long a[6];
                shape(s, 0, a);
                long r = call(nr, a);
                if (getpid() != self) _exit(0);
                report->ret = r;
                if (r != -ENOSYS) break;
            }
            report->done = 1;
            _exit(0);
        }
        int st = reap(p, 3000);
        if (st == -1) { kill(p, SIGKILL); waitpid(p, NULL, 0); }
        if (report->done && report->ret == -ENOSYS) continue;
        if (!report->done && WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV) { faults++; continue; }
        if (bad++ < 10) ok(0, "%s number %ld: returned %ld, status %x", gate, nr & 0xffff, report->ret, st);
    }
    /* a kernel without 32-bit emulation answers int 0x80 with SIGSEGV, for every number alike */
    ok(bad == 0 && (faults == 0 || faults == to - from), "%s: ENOSYS for every number", gate);
}

int main(int argc, char **argv) {
    if (argc < 4) { fprintf(stderr, "usage: all_numbers HIDDEN ABSENT DIR\n"); return 2; }
    for (int i = 0; i < 2; i++) {
        full[i] = argv[1 + i];
        name_in_dir[i] = strrchr(full[i], '/') + 1;
    }
    /* below 4 GiB, so that 32-bit pointers reach it */
    char *low = mmap(NULL, 4 * BUFSIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    report = (struct report *)low;
    pathbuf = low + BUFSIZE + 1;
    pathbuf2 = pathbuf + PATH_MAX;
    out = low + 3 * BUFSIZE;
    dirfd_ = open(argv[3], O_RDONLY | O_DIRECTORY);
    if (!ok(dirfd_ >= 0, "the directory is visible")) return 1;
    dirfd_ = fcntl(dirfd_, F_DUPFD, 100);

    every_number();
    must_be_enosys("numbers above the table", raw, 480, 600);
    must_be_enosys("very high numbers", raw, 0x3ffffff0, 0x40000000);
    must_be_enosys("int 0x80", int80, 1, 470);
    must_be_enosys("x32", raw, 0x40000000, 0x40000000 + 560);
    return finish();
}
