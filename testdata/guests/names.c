/* names: what every call that takes a path says of one name. For names that must not be told apart.
 *
 *   names all|keep PATH        "CALL, WAY: RESULT, hash of what was written"; "keep" leaves out what could make PATH
 *   names time PATH PATH       the median times of a few calls, by turns for both paths: much the same
 *
 * PATH stands in a directory that has a file "mine". The caller compares what is said of a hidden and of an absent name. */
#include "check.h"
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { FCHMODAT2 = 452, SETXATTRAT = 463, GETXATTRAT, LISTXATTRAT, REMOVEXATTRAT, FILE_GETATTR = 468, FILE_SETATTR, ROOM = 4096 };
static unsigned char out[ROOM];
static const char *call_name, *way;

static void said(const char *how, long r) {
    int e = errno;
    uint32_t hash = 2166136261u;
    for (int i = 0; i < ROOM; i++) hash = (hash ^ out[i]) * 16777619u;
    printf("%s, %s%s%s: %s, %08x\n", call_name, way, *how ? ", " : "", how, r == -1 ? errname(e) : "done", hash);
    memset(out, 0xaa, ROOM);
}

#define TRY(name, how, ...) (call_name = #name, errno = 0, said(how, syscall(SYS_##name, __VA_ARGS__)))
#define TRY_NEW(name, number, how, ...) (call_name = #name, errno = 0, said(how, syscall(number, __VA_ARGS__)))
#define TRY_OPEN(name, how, ...)                                                                     \
    do {                                                                                             \
        long fd_ = (errno = 0, syscall(SYS_##name, __VA_ARGS__));                                    \
        call_name = #name, said(how, fd_);                                                           \
        if (fd_ >= 0) close(fd_);                                                                    \
    } while (0)

static void exec(const char *name, long number, int dir, const char *path) {
    char *argv[] = {"x", NULL};
    pid_t p = fork_clean();
    if (p == 0) {
        if (number == SYS_execve) syscall(number, path, argv, argv + 1);
        else syscall(number, dir, path, argv, argv + 1, 0);
        _exit(errno);
    }
    int st;
    waitpid(p, &st, 0);
    errno = WEXITSTATUS(st);
    call_name = name, said("", -1);
}

/* Everything by a directory and a path. */
static void ask(int dir, const char *p, int make) {
    static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_PATH, O_PATH | O_NOFOLLOW, O_DIRECTORY, O_NOFOLLOW,
        O_TMPFILE | O_RDWR, O_CREAT, O_CREAT | O_EXCL | O_RDWR, O_CREAT | O_TRUNC | O_WRONLY, O_CREAT | O_NOFOLLOW};
    struct { uint64_t flags, mode, resolve; } oh = {0};
    struct { uint64_t value; uint32_t size, flags; } set = {(uintptr_t) "v", 1, 0}, get = {(uintptr_t)out, 200, 0};
    struct { uint64_t xflags; uint32_t a, b, c, d; } attr = {0x80, 0, 0, 0, 0};
    static const struct timeval tv[2] = {{1, 0}, {2, 0}};
    char how[64];
    int plain = dir == AT_FDCWD;
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i] & O_CREAT && !make) continue;
        snprintf(how, sizeof how, "%#o", flags[i]);
        if (plain) TRY_OPEN(open, how, p, flags[i], 0600);
        TRY_OPEN(openat, how, dir, p, flags[i], 0600);
        for (oh.resolve = 0; oh.resolve <= 0x20; oh.resolve = oh.resolve ? oh.resolve * 2 : 1) {
            oh.flags = flags[i], oh.mode = flags[i] & O_CREAT || (flags[i] & O_TMPFILE) == O_TMPFILE ? 0600 : 0;
            snprintf(how, sizeof how, "%#o, resolve %#x", flags[i], (unsigned)oh.resolve);
            TRY_OPEN(openat2, how, dir, p, &oh, sizeof oh);
        }
    }
    for (int f = 0; f <= AT_SYMLINK_NOFOLLOW; f += AT_SYMLINK_NOFOLLOW) {
        const char *n = f ? "nofollow" : "";
        TRY(newfstatat, n, dir, p, out, f);
        TRY(statx, n, dir, p, f, 0x7ff, out);
        for (int m = 0; m < 8; m++) snprintf(how, sizeof how, "mode %d%s", m, n), TRY(faccessat2, how, dir, p, m, f);
        TRY_NEW(fchmodat2, FCHMODAT2, n, dir, p, 0700, f);
        TRY(fchownat, n, dir, p, getuid(), -1, f);
        TRY(utimensat, n, dir, p, NULL, f);
        TRY_NEW(setxattrat, SETXATTRAT, n, dir, p, f, "user.x", &set, sizeof set);
        TRY_NEW(getxattrat, GETXATTRAT, n, dir, p, f, "user.x", &get, sizeof get);
        TRY_NEW(listxattrat, LISTXATTRAT, n, dir, p, f, out, 200);
        TRY_NEW(removexattrat, REMOVEXATTRAT, n, dir, p, f, "user.x");
        TRY_NEW(file_getattr, FILE_GETATTR, n, dir, p, out, sizeof attr, f);
        TRY_NEW(file_setattr, FILE_SETATTR, n, dir, p, &attr, sizeof attr, f);
        TRY(linkat, f ? "of it, follow" : "of it", dir, p, AT_FDCWD, "absent/elsewhere", f ? AT_SYMLINK_FOLLOW : 0);
        if (make) TRY(linkat, f ? "to it, follow" : "to it", AT_FDCWD, "mine", dir, p, f ? AT_SYMLINK_FOLLOW : 0);
    }
    TRY(faccessat, "", dir, p, F_OK);
    TRY(faccessat, "W_OK", dir, p, W_OK);
    TRY(fchmodat, "", dir, p, 0700);
    TRY(futimesat, "", dir, p, tv);
    TRY(unlinkat, "", dir, p, 0);
    TRY(unlinkat, "AT_REMOVEDIR", dir, p, AT_REMOVEDIR);
    long got = syscall(SYS_readlinkat, dir, p, out, 200);
    int e = errno;
    memset(out, 0xaa, ROOM), errno = e, call_name = "readlinkat", said("", got);
    for (int f = 0; f < 8; f++) {
        snprintf(how, sizeof how, "away, %d", f), TRY(renameat2, how, dir, p, AT_FDCWD, "absent/elsewhere", f);
        snprintf(how, sizeof how, "onto, %d", f);
        if (make || f & 2) TRY(renameat2, how, AT_FDCWD, "mine", dir, p, f);
    }
    TRY(renameat, "away", dir, p, AT_FDCWD, "absent/elsewhere");
    if (make) {
        TRY(renameat, "onto", AT_FDCWD, "mine", dir, p);
        TRY(mkdirat, "", dir, p, 0700);
        TRY(symlinkat, "", "text", dir, p);
        for (mode_t kind = S_IFIFO; kind <= S_IFSOCK; kind += S_IFIFO) snprintf(how, sizeof how, "%#o", kind), TRY(mknodat, how, dir, p, kind | 0600, 0x103);
    }
    exec("execveat", SYS_execveat, dir, p);
    TRY(execveat, "AT_EXECVE_CHECK", dir, p, NULL, NULL, 0x10000);
    if (!plain) return;
    exec("execve", SYS_execve, 0, p);
    TRY(stat, "", p, out);
    TRY(lstat, "", p, out);
    TRY(access, "", p, F_OK);
    TRY(access, "W_OK", p, W_OK);
    TRY(truncate, "", p, 0L);
    TRY(chdir, "", p);
    TRY(rename, "away", p, "absent/elsewhere");
    TRY(rmdir, "", p);
    TRY(unlink, "", p);
    TRY(link, "of it", p, "absent/elsewhere");
    got = syscall(SYS_readlink, p, out, 200), e = errno;
    memset(out, 0xaa, ROOM), errno = e, call_name = "readlink", said("", got);
    TRY(chmod, "", p, 0700);
    TRY(chown, "", p, getuid(), -1);
    TRY(lchown, "", p, getuid(), -1);
    TRY(utime, "", p, NULL);
    TRY(utimes, "", p, tv);
    TRY(statfs, "", p, out);
    TRY(setxattr, "", p, "user.x", "v", 1, 0);
    TRY(lsetxattr, "", p, "user.x", "v", 1, 0);
    TRY(getxattr, "", p, "user.x", out, 200);
    TRY(lgetxattr, "", p, "user.x", out, 200);
    TRY(listxattr, "", p, out, 200);
    TRY(llistxattr, "", p, out, 200);
    TRY(removexattr, "", p, "user.x");
    TRY(lremovexattr, "", p, "user.x");
    int fd = inotify_init1(IN_CLOEXEC);
    TRY(inotify_add_watch, "", fd, p, 0xfff);
    TRY(inotify_add_watch, "nofollow", fd, p, 0x02000fff);
    close(fd);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(p) < sizeof a.sun_path) {
        strcpy(a.sun_path, p);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        TRY(connect, "", fd, &a, sizeof a);
        if (make) TRY(bind, "", fd, &a, sizeof a);
        close(fd);
    }
    if (!make) return;
    TRY(rename, "onto", "mine", p);
    TRY(link, "to it", "mine", p);
    TRY(mkdir, "", p, 0700);
    TRY(mknod, "", p, S_IFREG | 0600, 0);
    TRY(symlink, "", "text", p);
    TRY_OPEN(creat, "", p, 0600);
}

static void all(const char *path, int keep) {
    static const char *const after[] = {"", "/", "/.", "/..", "/below", "/below/more", "/../mine", "//"};
    char p[PATH_MAX + 32], dir[PATH_MAX], label[64];
    strcpy(dir, path);
    *strrchr(dir, '/') = 0;
    if (chdir(dir) < 0) { perror(dir); exit(2); }
    int fd = open(".", O_RDONLY | O_DIRECTORY), by_path = open(".", O_PATH);
    for (unsigned i = 0; i < sizeof after / sizeof *after; i++) {
        int make = !keep || !strncmp(after[i], "/b", 2) || !strncmp(after[i], "/.", 2);
        way = label;
        snprintf(p, sizeof p, "%s%s", path, after[i]);
        snprintf(label, sizeof label, "absolute%s", after[i]), ask(AT_FDCWD, p, make);
        snprintf(p, sizeof p, "%s%s", strrchr(path, '/') + 1, after[i]);
        snprintf(label, sizeof label, "relative%s", after[i]), ask(AT_FDCWD, p, make);
        snprintf(label, sizeof label, "of a descriptor%s", after[i]), ask(fd, p, make);
        snprintf(label, sizeof label, "of O_PATH%s", after[i]), ask(by_path, p, make);
        snprintf(p, sizeof p, "/proc/self/cwd/%s%s", strrchr(path, '/') + 1, after[i]);
        snprintf(label, sizeof label, "by /proc%s", after[i]), ask(AT_FDCWD, p, make);
    }
}

static int by_size(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds for the middle one of many calls on each of two paths. */
static void medians(long nr, const char *const path[2], long median[2]) {
    enum { TIMES = 1000 };
    static long took[2][TIMES];
    for (int i = 0; i < TIMES; i++)
        for (int which = 0; which < 2; which++) {
            struct timespec a, b;
            clock_gettime(CLOCK_MONOTONIC, &a);
            syscall(nr, path[which], nr == SYS_stat ? (long)out : 0L, 0L);
            clock_gettime(CLOCK_MONOTONIC, &b);
            took[which][i] = (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
        }
    for (int which = 0; which < 2; which++) qsort(took[which], TIMES, sizeof(long), by_size), median[which] = took[which][TIMES / 2];
}

static void times(const char *const path[2]) {
    static const struct { const char *name; long nr; } calls[] = {
        {"stat", SYS_stat}, {"open", SYS_open}, {"access", SYS_access}, {"chdir", SYS_chdir}, {"unlink", SYS_unlink}, {"truncate", SYS_truncate}};
    char below[2][PATH_MAX + 8];
    const char *const inside[2] = {below[0], below[1]};
    for (int i = 0; i < 2; i++) snprintf(below[i], sizeof below[i], "%s/below", path[i]);
    for (unsigned c = 0; c < 2 * sizeof calls / sizeof *calls; c++) {
        long m[2], fine = 0;
        for (int again = 0; again < 6 && !fine; again++) {
            medians(calls[c / 2].nr, c % 2 ? inside : path, m);
            fine = 2 * m[0] < 3 * m[1] && 2 * m[1] < 3 * m[0];
        }
        note("%s%s: hidden %ld ns, absent %ld ns", calls[c / 2].name, c % 2 ? " below it" : "", m[0], m[1]);
        ok(fine, "%s%s takes as long", calls[c / 2].name, c % 2 ? " below it" : "");
    }
}

int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: names all|keep|time PATH [PATH]\n"); return 2; }
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    signal(SIGPIPE, SIG_IGN);
    alarm(100);
    memset(out, 0xaa, ROOM);
    if (!strcmp(argv[1], "time") && argc > 3) times((const char *const[2]){argv[2], argv[3]});
    else all(argv[2], !strcmp(argv[1], "keep"));
    return finish();
}
