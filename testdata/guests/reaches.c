/* reaches: whom a process may signal, by every call that sends signals.
 *
 * The first process starts a sibling of the actor and the actor; that one has a second thread, a child, a grandchild whose
 * parent has ended, and a child that has ended and waits for it. For each way and each of them one line:
 *   WAY WHOM ERROR COUNT     how many SIGUSR1 the one meant has got
 * For calls that mean several: WAY ERROR, and who has got one.
 *
 * One of them is kill(-1), which reaches everybody: it starts on a machine called "reaches" only, as the sandbox's policy says.
 *
 *   reaches            all of that
 *   reaches race       a thread exchanges a child's pidfd for the parent's, while the other one signals through it */
#include "check.h"
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { SELF, THREAD, CHILD, GRANDCHILD, ENDED, SIBLING, PARENT, FIRST_ONE, ROLES };
static const char *names[] = {"self", "thread", "child", "grandchild", "ended", "sibling", "parent"};
static struct { volatile int got[ROLES]; volatile pid_t pid[ROLES]; } *shared;
static int role;

static void count(int sig) {
    (void)sig;
    __atomic_add_fetch(&shared->got[role], 1, __ATOMIC_SEQ_CST);
}

static void stay(int as) {
    role = as;
    shared->pid[as] = syscall(SYS_getpid);
    for (;;) pause();
}

static void await_birth(int who) {
    while (!shared->pid[who]) sleep_ms(1);
}

static void *second_thread(void *unused) {
    shared->pid[THREAD] = syscall(SYS_gettid);
    for (;;) pause();
    return unused;
}

static int pair(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) exit(2);
    return ends[0];
}

static long by_pidfd(pid_t pid, int sig, siginfo_t *info, unsigned flags) {
    int fd = syscall(SYS_pidfd_open, pid, flags == 1 ? O_EXCL : 0);
    if (fd < 0) return -1;
    long r = syscall(SYS_pidfd_send_signal, fd, sig, info, flags);
    int e = errno;
    close(fd);
    errno = e;
    return r;
}

static long by_directory(pid_t pid) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -1;
    long r = syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0);
    int e = errno;
    close(fd);
    errno = e;
    return r;
}

/* 1: a signal comes of it. */
static int sends;

static long try(const char *way, int who) {
    pid_t pid = shared->pid[who], tgid = who == THREAD ? getpid() : pid;
    siginfo_t info = {0};
    info.si_signo = SIGUSR1;
    info.si_code = SI_QUEUE;
    struct { int kind, pid; } owner = {1, pid};
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    sends = 1;
    if (!strcmp(way, "kill")) return syscall(SYS_kill, pid, SIGUSR1);
    if (!strcmp(way, "tkill")) return syscall(SYS_tkill, pid, SIGUSR1);
    if (!strcmp(way, "tgkill")) return syscall(SYS_tgkill, tgid, pid, SIGUSR1);
    if (!strcmp(way, "sigqueue")) return syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info);
    if (!strcmp(way, "tgsigqueue")) return syscall(SYS_rt_tgsigqueueinfo, tgid, pid, SIGUSR1, &info);
    if (!strcmp(way, "pidfd")) return by_pidfd(tgid, SIGUSR1, NULL, 0);
    if (!strcmp(way, "pidfd-info")) return by_pidfd(tgid, SIGUSR1, &info, 0);
    if (!strcmp(way, "pidfd-thread")) return by_pidfd(pid, SIGUSR1, NULL, 1);
    if (!strcmp(way, "directory")) return by_directory(tgid);
    sends = 0;
    if (!strcmp(way, "kill-0")) return syscall(SYS_kill, pid, 0);
    if (!strcmp(way, "setown")) return fcntl(pair(), F_SETOWN, pid);
    if (!strcmp(way, "setown-ex")) return fcntl(pair(), F_SETOWN_EX, &owner);
    if (!strcmp(way, "fiosetown")) return ioctl(pair(), FIOSETOWN, &pid);
    if (!strcmp(way, "siocspgrp")) return ioctl(pair(), SIOCSPGRP, &pid);
    if (!strcmp(way, "limit")) return syscall(SYS_prlimit64, pid, RLIMIT_CPU, &limit, NULL);
    if (!strcmp(way, "ask-limit")) return syscall(SYS_prlimit64, pid, RLIMIT_CPU, NULL, &limit);
    exit(2);
}

static int got(int who) { return __atomic_exchange_n(&shared->got[who == THREAD ? SELF : who], 0, __ATOMIC_SEQ_CST); }

static void one(const char *way, int who) {
    long r = try(way, who);
    int e = r ? errno : 0, n = got(who);
    for (int i = 0; !e && sends && who != ENDED && !n && i < 5000; i++) sleep_ms(1), n += got(who);
    if (e) sleep_ms(3), n += got(who);
    printf("%s %s %s %d\n", way, names[who], errname(e), n);
    fflush(stdout);
}

static void many(const char *way, pid_t pid) {
    long r = syscall(SYS_kill, pid, SIGUSR1);
    printf("%s %s", way, errname(r ? errno : 0));
    sleep_ms(100);
    for (int who = 0; who < ROLES; who++)
        if (who != THREAD && got(who)) printf(" %s", who == FIRST_ONE ? "first" : names[who]);
    putchar('\n');
    fflush(stdout);
}

static void act(void) {
    static const char *ways[] = {"kill", "kill-0", "tkill", "tgkill", "sigqueue", "tgsigqueue", "pidfd", "pidfd-info", "pidfd-thread",
                                 "directory", "setown", "setown-ex", "fiosetown", "siocspgrp", "limit", "ask-limit"};
    for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++)
        for (int who = 0; who <= PARENT; who++) one(ways[w], who);
    many("all", -1);
    many("group", 0);
    many("group-by-number", -getpgrp());
    int one = 1, group = -getpgrp(), fd = pair(), e;
    struct { int kind, pid; } owner = {2, getpgrp()};
    e = fcntl(fd, F_SETOWN, group) ? errno : 0, printf("own-group %s\n", errname(e));
    e = fcntl(fd, F_SETOWN_EX, &owner) ? errno : 0, printf("own-group-ex %s\n", errname(e));
    e = ioctl(fd, SIOCSPGRP, &group) ? errno : 0, printf("own-group-ioctl %s\n", errname(e));
    e = fcntl(fd, F_SETFL, O_NONBLOCK) ? errno : 0, printf("nonblock %s\n", errname(e));
    e = fcntl(fd, F_SETFL, O_ASYNC) ? errno : 0, printf("async %s\n", errname(e));
    e = ioctl(fd, FIOASYNC, &one) ? errno : 0, printf("async-ioctl %s\n", errname(e));
    e = by_pidfd(getpgrp(), SIGUSR1, NULL, 4) ? errno : 0, printf("pidfd-group %s", errname(e));
    sleep_ms(100);
    for (int who = 0; who < ROLES; who++)
        if (who != THREAD && got(who)) printf(" %s", who == FIRST_ONE ? "first" : names[who]);
    putchar('\n');
    fflush(stdout);
}

static volatile int racing = 1, slot;

static void *exchange(void *unused) {
    int child = syscall(SYS_pidfd_open, shared->pid[CHILD], 0), parent = syscall(SYS_pidfd_open, shared->pid[PARENT], 0);
    while (racing) dup2(child, slot), dup2(parent, slot);
    return unused;
}

static void race(void) {
    pthread_t thread;
    slot = dup(0);
    if (pthread_create(&thread, NULL, exchange, NULL)) exit(2);
    int good = 0;
    for (int i = 0; i < 20000; i++) good += syscall(SYS_pidfd_send_signal, slot, SIGUSR1, NULL, 0) == 0;
    racing = 0;
    pthread_join(thread, NULL);
    sleep_ms(100);
    printf("race %s %d\n", good ? "some" : "none", shared->got[PARENT]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    pid_t p;
    char machine[64] = "";
    if (gethostname(machine, sizeof machine - 1) || strcmp(machine, "reaches")) return 3;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setpgid(0, 0);
    signal(SIGUSR1, count);
    signal(SIGIO, SIG_IGN);
    /* The first process is nobody of these: its number is special to sbox. */
    role = FIRST_ONE;
    if ((p = fork_clean())) {
        int st = 0;
        while (waitpid(p, &st, 0) < 0 && errno == EINTR) {}
        return !WIFEXITED(st) || WEXITSTATUS(st);
    }
    role = PARENT;
    shared->pid[PARENT] = getpid();
    if (!fork_clean()) stay(SIBLING);
    await_birth(SIBLING);
    pid_t actor = fork_clean();
    if (!actor) {
        role = SELF;
        shared->pid[SELF] = getpid();
        pthread_t thread;
        if (pthread_create(&thread, NULL, second_thread, NULL)) return 2;
        await_birth(THREAD);
        if (!fork_clean()) stay(CHILD);
        if (!(p = fork_clean())) {
            if (!fork_clean()) stay(GRANDCHILD);
            await_birth(GRANDCHILD);
            _exit(0);
        }
        waitpid(p, NULL, 0);
        if (!(p = fork_clean())) _exit(0);
        siginfo_t ended;
        if (waitid(P_PID, p, &ended, WEXITED | WNOWAIT)) return 2;
        shared->pid[ENDED] = p;
        await_birth(CHILD);
        argc > 1 && !strcmp(argv[1], "race") ? race() : act();
        _exit(0);
    }
    int st = 0;
    while (waitpid(actor, &st, 0) < 0 && errno == EINTR) {}
    for (int who = CHILD; who <= SIBLING; who++)
        if (who != ENDED) kill(shared->pid[who], SIGKILL);
    return !WIFEXITED(st) || WEXITSTATUS(st);
}
