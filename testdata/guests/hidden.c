/* hidden: what is hidden cannot be told from what does not exist; processes outside do not exist.
 *
 *   hidden HIDDEN ABSENT HIDDENDIR ABSENTDIR OUTSIDE_PID SBOX_PID
 *
 * HIDDEN/ABSENT are names in one visible, writable directory (the working directory): the first exists on the host, the
 * second does not. The same for the two directories. Every call must give the same answer for both of a pair. */
#include "check.h"
#include <dirent.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <utime.h>

enum { CALLS = 60 };
static const char *call_name[CALLS];
static long answer[2][CALLS];
static int ncalls;

static void say(int which, const char *name, long r) {
    answer[which][ncalls] = r == -1 ? -errno : r < 0 ? r : 1;
    call_name[ncalls++] = name;
}

static long unix_connect(const char *path) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    long r = connect(fd, (struct sockaddr *)&a, sizeof a);
    int e = errno;
    close(fd);
    errno = e;
    return r;
}

static long run(const char *path) {
    pid_t p = fork_clean();
    if (p == 0) { execl(path, path, NULL); _exit(errno); }
    int st;
    waitpid(p, &st, 0);
    errno = WEXITSTATUS(st);
    return errno ? -1 : 0;
}

/* Every question that can be put about a name without making it. */
static void ask(int which, const char *p) {
    struct stat st;
    struct statfs sf;
    struct statx sx;
    char buf[256];
    int fd;
    ncalls = 0;
    say(which, "stat", stat(p, &st));
    say(which, "lstat", lstat(p, &st));
    say(which, "statx", statx(AT_FDCWD, p, 0, STATX_ALL, &sx));
    say(which, "access", access(p, F_OK));
    say(which, "access W_OK", access(p, W_OK));
    say(which, "faccessat2", syscall(SYS_faccessat2, AT_FDCWD, p, F_OK, AT_SYMLINK_NOFOLLOW));
    say(which, "open", fd = open(p, O_RDONLY)), close(fd);
    say(which, "open O_PATH", fd = open(p, O_PATH)), close(fd);
    say(which, "open O_PATH O_NOFOLLOW", fd = open(p, O_PATH | O_NOFOLLOW)), close(fd);
    say(which, "open O_WRONLY", fd = open(p, O_WRONLY)), close(fd);
    say(which, "open O_DIRECTORY", fd = open(p, O_RDONLY | O_DIRECTORY)), close(fd);
    say(which, "open O_TMPFILE", fd = open(p, O_TMPFILE | O_RDWR, 0600)), close(fd);
    say(which, "readlink", readlink(p, buf, sizeof buf));
    say(which, "chdir", chdir(p));
    say(which, "statfs", statfs(p, &sf));
    say(which, "truncate", truncate(p, 0));
    say(which, "chmod", chmod(p, 0777));
    say(which, "chown", chown(p, getuid(), -1));
    say(which, "lchown", lchown(p, getuid(), -1));
    say(which, "utime", utime(p, NULL));
    say(which, "utimensat", utimensat(AT_FDCWD, p, NULL, AT_SYMLINK_NOFOLLOW));
    say(which, "getxattr", getxattr(p, "user.x", buf, sizeof buf));
    say(which, "setxattr", setxattr(p, "user.x", "1", 1, 0));
    say(which, "listxattr", listxattr(p, buf, sizeof buf));
    say(which, "removexattr", removexattr(p, "user.x"));
    say(which, "unlink", unlink(p));
    say(which, "rmdir", rmdir(p));
    say(which, "rename of it", rename(p, "elsewhere"));
    say(which, "exchange with it", syscall(SYS_renameat2, AT_FDCWD, p, AT_FDCWD, "mine", 2));
    say(which, "link of it", link(p, "elsewhere"));
    say(which, "execve", run(p));
    say(which, "connect", unix_connect(p));
    say(which, "inotify_add_watch", inotify_add_watch(inotify_init1(IN_CLOEXEC), p, IN_ACCESS));
    say(which, "chroot", chroot(p));
    say(which, "umount2", umount2(p, MNT_DETACH));
    say(which, "swapon", syscall(SYS_swapon, p, 0));
    say(which, "acct", syscall(SYS_acct, p));
    say(which, "name_to_handle_at", ({ char h[200] = {128}; int id; syscall(SYS_name_to_handle_at, AT_FDCWD, p, h, &id, 0); }));
    say(which, "open_tree", syscall(SYS_open_tree, AT_FDCWD, p, 0));
    say(which, "execveat AT_EXECVE_CHECK", syscall(SYS_execveat, AT_FDCWD, p, NULL, NULL, 0x10000));
    char below[PATH_MAX];
    snprintf(below, sizeof below, "%s/below", p);
    say(which, "stat below it", stat(below, &st));
    say(which, "open O_CREAT below it", fd = open(below, O_CREAT | O_RDWR, 0600)), close(fd);
    say(which, "mkdir below it", mkdir(below, 0700));
    snprintf(below, sizeof below, "%s/", p);
    say(which, "stat with a slash", stat(below, &st));
    snprintf(below, sizeof below, "%s/.", p);
    say(which, "stat of /.", stat(below, &st));
    snprintf(below, sizeof below, "%s/..", p);
    say(which, "stat of /..", stat(below, &st));
}

static void same(const char *how, const char *hidden, const char *absent) {
    int bad = 0;
    ask(0, hidden);
    ask(1, absent);
    for (int i = 0; i < ncalls; i++)
        if (answer[0][i] != answer[1][i]) {
            ok(0, "%s, %s: hidden %s, absent %s", how, call_name[i], answer[0][i] < 0 ? errname(-answer[0][i]) : "works",
               answer[1][i] < 0 ? errname(-answer[1][i]) : "works");
            bad++;
        }
    ok(bad == 0, "%s: %d calls cannot tell", how, ncalls);
}

static int listed(const char *dir, const char *name) {
    DIR *d = opendir(dir);
    int seen = 0;
    for (struct dirent *e; d && (e = readdir(d));) seen |= !strcmp(e->d_name, name);
    if (d) closedir(d);
    return seen;
}

static const char *base(const char *p) { return strrchr(p, '/') ? strrchr(p, '/') + 1 : p; }

static void files(char **a) {
    const char *h = base(a[0]), *n = base(a[1]), *hd = base(a[2]), *nd = base(a[3]);
    char p[2][PATH_MAX], cwd[PATH_MAX];
    getcwd(cwd, sizeof cwd);
    put("mine", "mine", 0644);
    mkdir("sub", 0755);
#define PAIR(how, fmt, x, y) \
    (snprintf(p[0], sizeof p[0], fmt, x), snprintf(p[1], sizeof p[1], fmt, y), same(how, p[0], p[1]))
    PAIR("absolute", "%s", a[0], a[1]);
    PAIR("relative", "%s", h, n);
    PAIR("through ..", "sub/../%s", h, n);
    PAIR("through /proc/self/cwd", "/proc/self/cwd/%s", h, n);
    PAIR("through /proc/self/root", "/proc/self/root%s", a[0], a[1]);
    PAIR("through /proc/thread-self/root", "/proc/thread-self/root%s", a[0], a[1]);
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    char fmt[64];
    snprintf(fmt, sizeof fmt, "/proc/self/fd/%d/%%s", dir);
    PAIR("through /proc/self/fd", fmt, h, n);
    snprintf(fmt, sizeof fmt, "/dev/fd/%d/%%s", dir);
    PAIR("through /dev/fd", fmt, h, n);
    snprintf(fmt, sizeof fmt, "/proc/%d/cwd/%%s", (int)getpid());
    PAIR("through /proc/<pid>/cwd", fmt, h, n);
    symlink(a[0], "to0"), symlink(a[1], "to1");
    struct stat st;
    char buf[16];
    ok(fails(stat("to0", &st), ENOENT), "a link to it dangles");
    ok(fails(open("to0", O_RDONLY), ENOENT), "and opens nothing");
    ok(fails(readlink(a[0], buf, sizeof buf), ENOENT), "readlink of it");
    PAIR("directory", "%s", a[2], a[3]);
    PAIR("file in the directory", "%s/inside", a[2], a[3]);
    PAIR("directory, relative", "%s", hd, nd);
    PAIR("directory and back", "%s/../mine", hd, nd);
    ok(fails(fstatat(dir, h, &st, 0), ENOENT), "fstatat by descriptor");
    ok(fails(openat(dir, h, O_RDONLY), ENOENT), "openat by descriptor");
    ok(!listed(".", h) && !listed(".", hd) && listed(".", "mine"), "not listed by readdir");
    /* The name can be neither taken nor replaced: the host's file must survive. Which error is the engine's choice. */
    ok(rename("mine", a[0]) < 0, "rename onto it fails");
    ok(mkdir(a[0], 0755) < 0, "mkdir of it fails");
    ok(mkdir(a[2], 0755) < 0, "mkdir of the directory fails");
    ok(open(a[0], O_CREAT | O_RDWR, 0600) < 0, "O_CREAT of it fails");
    ok(open(a[0], O_CREAT | O_TRUNC | O_WRONLY, 0600) < 0, "O_CREAT O_TRUNC of it fails");
    ok(symlink("x", a[0]) < 0, "symlink at it fails");
    ok(link("mine", a[0]) < 0, "link at it fails");
    ok(mkfifo(a[0], 0600) < 0, "mkfifo of it fails");
    ok(access("mine", F_OK) == 0, "the source of the failed rename is still there");
    close(dir);
}

static void processes(pid_t outside, pid_t sbox) {
    cpu_set_t set;
    struct sched_param sp;
    struct rlimit rl;
    pid_t pids[2] = {outside, sbox};
    for (int i = 0; i < 2; i++) {
        pid_t p = pids[i];
        const char *who = i ? "sbox" : "a process outside";
        char path[64];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%d", (int)p);
        ok(fails(stat(path, &st), ENOENT), "%s: /proc/<pid>", who);
        snprintf(path, sizeof path, "/proc/%d/environ", (int)p);
        ok(fails(open(path, O_RDONLY), ENOENT), "%s: environ", who);
        snprintf(path, sizeof path, "/proc/%d/mem", (int)p);
        ok(fails(open(path, O_RDWR), ENOENT), "%s: mem", who);
        snprintf(path, sizeof path, "/proc/%d/root/etc", (int)p);
        ok(fails(stat(path, &st), ENOENT), "%s: root", who);
        snprintf(path, sizeof path, "%d", (int)p);
        ok(!listed("/proc", path), "%s: listed", who);
        ok(fails(kill(p, 0), ESRCH), "%s: kill", who);
        /* sbox's own group may be ours too, as a shell's child is in the group of its pipeline */
        if (getpgrp() != p) ok(fails(kill(-p, 0), ESRCH), "%s: kill of its group", who);
        ok(fails(syscall(SYS_tkill, p, 0), ESRCH), "%s: tkill", who);
        ok(fails(syscall(SYS_tgkill, p, p, 0), ESRCH), "%s: tgkill", who);
        siginfo_t si = {.si_signo = SIGCONT, .si_code = SI_QUEUE};
        ok(fails(syscall(SYS_rt_sigqueueinfo, p, SIGCONT, &si), ESRCH), "%s: rt_sigqueueinfo", who);
        ok(fails(syscall(SYS_pidfd_open, p, 0), ESRCH), "%s: pidfd_open", who);
        ok(fails(sched_getaffinity(p, sizeof set, &set), ESRCH), "%s: sched_getaffinity", who);
        CPU_ZERO(&set);
        CPU_SET(0, &set);
        ok(fails(sched_setaffinity(p, sizeof set, &set), ESRCH), "%s: sched_setaffinity", who);
        ok(fails(sched_getparam(p, &sp), ESRCH), "%s: sched_getparam", who);
        ok(fails(sched_getscheduler(p), ESRCH), "%s: sched_getscheduler", who);
        errno = 0;
        ok(fails(getpriority(PRIO_PROCESS, p), ESRCH), "%s: getpriority", who);
        ok(fails(setpriority(PRIO_PROCESS, p, 19), ESRCH), "%s: setpriority", who);
        ok(fails(prlimit(p, RLIMIT_NOFILE, NULL, &rl), ESRCH), "%s: prlimit", who);
        ok(fails(getpgid(p), ESRCH), "%s: getpgid", who);
        ok(fails(getsid(p), ESRCH), "%s: getsid", who);
        ok(fails(setpgid(p, 0), ESRCH), "%s: setpgid", who);
        ok(fails(syscall(SYS_ioprio_get, 1, p), ESRCH), "%s: ioprio_get", who);
        ok(waitpid(p, NULL, WNOHANG) < 0, "%s: waitpid", who);
    }
    /* nothing in /proc but our own processes */
    DIR *d = opendir("/proc");
    int seen = 0, foreign = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t p = atoi(e->d_name);
        if (p <= 0) continue;
        seen++;
        if (p != getpid() && p != getppid() && p != 1) foreign++;
    }
    if (d) closedir(d);
    ok(seen >= 1 && foreign == 0, "/proc lists only this sandbox: %d seen, %d foreign", seen, foreign);
    int reachable = 0;
    for (pid_t p = 2; p < 3000; p++)
        if (p != getpid() && p != getppid() && kill(p, 0) == 0) reachable++;
    ok(reachable == 0, "no process answers to numbers up to 3000: %d", reachable);
}

int main(int argc, char **argv) {
    if (argc < 7) { fprintf(stderr, "usage: hidden HIDDEN ABSENT HIDDENDIR ABSENTDIR OUTSIDE_PID SBOX_PID\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    files(argv + 1);
    processes(atoi(argv[5]), atoi(argv[6]));
    return finish();
}
