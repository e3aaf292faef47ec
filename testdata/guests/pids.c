/* pids: what calls tell of processes agrees, whoever is asked and however.
 *
 * Natively and in sbox, where numbers are the view's own, the same relations must hold. Every number that the program is told goes
 * through see(), and at the end the greatest is told: where numbers begin at 1 it can't be above the last one born.
 *
 *   pids              all relations
 *   pids search PID   the same, and behind each all memory is searched for numbers of the host, and PID, which is sbox
 *   pids am PID PPID  after an exec: who I am */
#include "check.h"
#include "host_words.h"
#include <dirent.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>

enum { UNUSED_PID = 4194000 }; /* nobody has this one */

/* Shared by all processes of a run. */
static struct shared { long greatest; pid_t pid[8]; volatile int flag[8]; } *shared;
static char self[512];

static long see(long n) {
    if (labs(n) > shared->greatest) shared->greatest = labs(n);
    return n;
}

static pid_t me(void) { return see(syscall(SYS_getpid)); }
static pid_t tid(void) { return see(syscall(SYS_gettid)); }
static pid_t parent(void) { return see(syscall(SYS_getppid)); }

static pid_t born(pid_t p) {
    if (p > 0) see(p);
    if (p == 0) {
        failures = 0;
        host_born();
    }
    return p;
}

static pid_t ended(pid_t p) {
    int st = 0;
    pid_t r = see(waitpid(p, &st, 0));
    return r;
}

/* A number behind a key in a file of /proc; -2 if it isn't there. */
static long number_in(const char *path, const char *key) {
    FILE *f = fopen(path, "r");
    char line[512];
    long n = -2;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':') { n = atol(line + strlen(key) + 1); break; }
    if (f) fclose(f);
    return see(n);
}

static long status_of(long pid, const char *key) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    return number_in(path, key);
}

/* Field of /proc/PID/stat, from 1; of the state its letter. */
static long stat_of(const char *who, int field) {
    char path[64], text[1024] = "", *p;
    snprintf(path, sizeof path, "/proc/%s/stat", who);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) { if (fd >= 0) close(fd); return -2; }
    close(fd);
    if (field == 1) return see(atol(text));
    p = strrchr(text, ')') + 2;
    if (field == 3) return *p;
    for (int i = 3; i < field; i++) p = strchr(p, ' ') + 1;
    return see(atol(p));
}

static long field_of(pid_t p, int field) {
    char who[16];
    snprintf(who, sizeof who, "%d", p);
    return stat_of(who, field);
}

static long fdinfo(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    return number_in(path, "Pid");
}

static int listed(const char *dir, pid_t p) {
    DIR *d = opendir(dir);
    int found = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (atoi(e->d_name) > 0) see(atoi(e->d_name));
        if (atoi(e->d_name) == p && p > 0) found = 1;
    }
    if (d) closedir(d);
    return found;
}

static void who_am_i(const char *what) {
    char text[32] = "", want[32];
    ok(me() > 1 && me() == getpid(), "%s: getpid", what);
    ok(tid() == me(), "%s: the first thread", what);
    ok(see(getpgid(0)) == getpgrp() && getpgid(me()) == getpgrp(), "%s: getpgid, getpgrp", what);
    ok(see(getsid(0)) == getsid(me()), "%s: getsid", what);
    snprintf(want, sizeof want, "%d", me());
    ok(readlink("/proc/self", text, sizeof text - 1) > 0 && !strcmp(text, want), "%s: /proc/self", what);
    snprintf(want, sizeof want, "%d/task/%d", me(), tid());
    ok(readlink("/proc/thread-self", text, sizeof text - 1) > 0 && !strcmp(text, want), "%s: /proc/thread-self", what);
    ok(stat_of("self", 1) == me() && stat_of("self", 4) == parent(), "%s: stat, pid and parent", what);
    ok(stat_of("self", 5) == getpgrp() && stat_of("self", 6) == getsid(0), "%s: stat, group and session", what);
    ok(status_of(me(), "Tgid") == me() && status_of(me(), "Pid") == me() && status_of(me(), "PPid") == parent(), "%s: status", what);
    ok(status_of(me(), "NSpid") == me() && status_of(me(), "NStgid") == me(), "%s: status, NSpid", what);
    ok(status_of(me(), "NSpgid") == getpgrp() && status_of(me(), "NSsid") == getsid(0), "%s: status, NSpgid", what);
    ok(status_of(me(), "TracerPid") == 0, "%s: no tracer", what);
    ok(listed("/proc", me()) && listed("/proc/self/task", tid()), "%s: listed", what);
    ok(kill(me(), 0) == 0 && syscall(SYS_tkill, tid(), 0) == 0 && syscall(SYS_tgkill, me(), tid(), 0) == 0, "%s: kill, tkill, tgkill", what);
    int p = syscall(SYS_pidfd_open, me(), 0);
    ok(p >= 0 && fdinfo(p) == me(), "%s: pidfd", what);
    close(p);
}

static int in_child(void *arg) {
    struct shared *s = arg;
    host_born();
    s->pid[0] = syscall(SYS_getpid);
    s->pid[1] = syscall(SYS_getppid);
    s->pid[2] = syscall(SYS_gettid);
    syscall(SYS_exit_group, 0);
    return 0;
}

static void has_told(const char *what, pid_t p, pid_t its_parent) {
    ok(p > 0 && ended(p) == p, "%s: waited for", what);
    ok(see(shared->pid[0]) == p && see(shared->pid[2]) == p, "%s: knows its number", what);
    ok(see(shared->pid[1]) == its_parent, "%s: knows its parent", what);
}

static void births(void) {
    static char stack[65536] __attribute__((aligned(16)));
    pid_t p = born(fork_clean());
    if (p == 0) in_child(shared);
    has_told("fork", p, me());
    p = born(syscall(SYS_fork));
    if (p == 0) in_child(shared);
    has_told("fork(2)", p, me());
    p = born(vfork());
    if (p == 0) in_child(shared);
    has_told("vfork", p, me());
    p = born(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (p == 0) in_child(shared);
    has_told("clone", p, me());
    p = born(clone(in_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, shared));
    has_told("clone, as posix_spawn does", p, me());
    int pidfd = -1;
    p = born(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0));
    if (p == 0) in_child(shared);
    ok(fdinfo(pidfd) == p, "clone: its pidfd");
    has_told("clone with a pidfd", p, me());
    ok(fdinfo(pidfd) == -1, "the pidfd of one that was waited for");
    close(pidfd);
    /* a sibling, made by a child */
    p = born(fork_clean());
    if (p == 0) {
        pid_t q = born(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0));
        if (q == 0) in_child(shared);
        shared->pid[3] = q;
        _exit(0);
    }
    ok(ended(p) == p, "the maker of a sibling");
    has_told("clone as a sibling", shared->pid[3], me());
    char number[16], mine[16];
    snprintf(mine, sizeof mine, "%d", me());
    p = born(fork_clean());
    if (p == 0) {
        snprintf(number, sizeof number, "%d", me());
        execl(self, self, "am", number, mine, NULL);
        _exit(9);
    }
    int st;
    ok(see(waitpid(p, &st, 0)) == p && WIFEXITED(st) && WEXITSTATUS(st) == 0, "exec leaves the number");
    char *argv[] = {self, "am", "0", mine, NULL}, *none[] = {NULL};
    ok(posix_spawn(&p, self, NULL, NULL, argv, none) == 0 && see(waitpid(p, &st, 0)) == p && WEXITSTATUS(st) == 0, "posix_spawn");
    pid_t last = 0;
    int rises = 1;
    for (int i = 0; i < 20; i++) {
        p = born(fork_clean());
        if (p == 0) _exit(0);
        rises &= p > last && ended(p) == p;
        last = p;
    }
    ok(rises, "each number is above the last");
}

static pid_t exits(int status) {
    pid_t p = born(fork_clean());
    if (p == 0) _exit(status);
    return p;
}

static pid_t sleeps(void) {
    pid_t p = born(fork_clean());
    if (p == 0) { prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) pause(); }
    return p;
}

static void stops(pid_t p) { kill(p, SIGKILL); ended(p); }

static void waits(void) {
    siginfo_t si;
    struct rusage ru;
    int st;
    pid_t p = exits(1);
    ok(see(wait4(p, &st, 0, &ru)) == p && WEXITSTATUS(st) == 1, "wait4 of one");
    p = exits(2);
    ok(see(wait4(-1, &st, 0, NULL)) == p && WEXITSTATUS(st) == 2, "wait4 of any");
    p = exits(3);
    ok(see(wait4(0, NULL, 0, NULL)) == p, "wait4 of the own group");
    p = exits(4);
    if (getpgrp() != 1) ok(see(wait4(-getpgrp(), NULL, 0, NULL)) == p, "wait4 of a group");
    else ok(ended(p) == p, "wait4 of a group");
    p = born(fork_clean());
    if (p == 0) { setpgid(0, 0); _exit(5); }
    ok(see(waitid(P_PID, p, &si, WEXITED | WNOWAIT)) == 0 && see(si.si_pid) == p && si.si_status == 5, "waitid, WNOWAIT");
    ok(see(wait4(-p, &st, 0, NULL)) == p && WEXITSTATUS(st) == 5, "wait4 of another group");
    p = born(fork_clean());
    if (p == 0) { setpgid(0, 0); _exit(6); }
    waitid(P_PID, p, &si, WEXITED | WNOWAIT);
    ok(waitid(P_PGID, p, &si, WEXITED) == 0 && see(si.si_pid) == p && si.si_status == 6, "waitid of a group");
    p = exits(7);
    ok(waitid(P_ALL, 0, &si, WEXITED) == 0 && see(si.si_pid) == p && si.si_code == CLD_EXITED, "waitid of all");
    p = exits(8);
    int fd = syscall(SYS_pidfd_open, p, 0);
    ok(waitid(P_PIDFD, fd, &si, WEXITED) == 0 && see(si.si_pid) == p && si.si_status == 8, "waitid of a pidfd");
    close(fd);
    p = exits(9);
    ok(syscall(SYS_waitid, P_PID, p, NULL, WEXITED, NULL) == 0, "waitid that tells nothing");
    ok(fails(waitpid(p, NULL, 0), ECHILD), "one that was waited for is no child");
    p = sleeps();
    si.si_pid = 77;
    ok(waitid(P_PID, p, &si, WEXITED | WNOHANG) == 0 && si.si_pid == 0, "waitid of one that lives");
    ok(waitpid(p, NULL, WNOHANG) == 0 && waitpid(-1, NULL, WNOHANG) == 0, "wait4 of one that lives");
    kill(p, SIGSTOP);
    ok(waitid(P_PID, p, &si, WSTOPPED) == 0 && see(si.si_pid) == p && si.si_code == CLD_STOPPED, "waitid of one that stops");
    kill(p, SIGCONT);
    ok(waitid(P_PID, p, &si, WCONTINUED) == 0 && see(si.si_pid) == p && si.si_code == CLD_CONTINUED, "waitid of one that goes on");
    kill(p, SIGSTOP);
    ok(see(waitpid(p, &st, WUNTRACED)) == p && WIFSTOPPED(st), "wait4 of one that stops");
    kill(p, SIGKILL);
    ok(see(waitpid(-1, &st, 0)) == p && WTERMSIG(st) == SIGKILL, "wait4 of one that is killed");
    ok(fails(waitpid(me(), NULL, WNOHANG), ECHILD), "oneself is no child");
    ok(fails(waitpid(parent(), NULL, WNOHANG), ECHILD), "nor the parent");
    ok(fails(waitpid(1, NULL, WNOHANG), ECHILD), "nor process 1");
    ok(fails(waitpid(UNUSED_PID, NULL, WNOHANG), ECHILD), "nor nobody");
    ok(fails(waitpid(-UNUSED_PID, NULL, WNOHANG), ECHILD), "nor the group of nobody");
    ok(fails(waitid(P_PID, 0, &si, WEXITED), EINVAL), "waitid of 0");
    ok(fails(waitid(P_PID, UNUSED_PID, &si, WEXITED), ECHILD), "waitid of nobody");
    ok(fails(waitid(P_PGID, UNUSED_PID, &si, WEXITED), ECHILD), "waitid of the group of nobody");
    ok(fails(wait4(-1, NULL, 0x100, NULL), EINVAL), "wait4 with an unknown flag");
    ok(fails(wait4(INT_MIN, NULL, WNOHANG, NULL), ESRCH), "wait4 of the least number");
    /* a zombie is there */
    p = exits(0);
    waitid(P_PID, p, &si, WEXITED | WNOWAIT);
    ok(kill(p, 0) == 0 && see(getpgid(p)) == getpgrp() && getsid(p) == getsid(0), "a zombie can be asked about");
    ok(field_of(p, 3) == 'Z' && field_of(p, 4) == me() && listed("/proc", p), "and is in /proc");
    ok(ended(p) == p && fails(kill(p, 0), ESRCH) && fails(getpgid(p), ESRCH) && !listed("/proc", p), "until it is waited for");
    ok(field_of(p, 1) == -2, "and then not in /proc");
    /* whoever ignores SIGCHLD has no zombies */
    signal(SIGCHLD, SIG_IGN);
    p = exits(0);
    ok(fails(waitpid(p, NULL, 0), ECHILD) && fails(kill(p, 0), ESRCH), "no zombie for who ignores SIGCHLD");
    signal(SIGCHLD, SIG_DFL);
    ok(fails(wait4(-1, NULL, WNOHANG, NULL), ECHILD), "no child is left");
}

static volatile siginfo_t last;
static volatile sig_atomic_t count;

static void on_signal(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    last = *si;
    count++;
}

static void handle(int sig, int flags) {
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};
    sigaction(sig, &sa, NULL);
    count = 0;
}

static int comes(void) {
    for (long end = now_us() + 2000000; !count && now_us() < end;) sleep_ms(1);
    int came = count == 1;
    count = 0;
    return came;
}

static int from(pid_t p, int code) { return comes() && see(last.si_pid) == p && last.si_code == code; }

static void signals(void) {
    siginfo_t si;
    sigset_t set, old;
    int st;
    handle(SIGUSR1, SA_RESTART);
    ok(kill(me(), SIGUSR1) == 0 && from(me(), SI_USER), "kill oneself");
    ok(raise(SIGUSR1) == 0 && from(me(), SI_TKILL), "raise");
    ok(syscall(SYS_tkill, tid(), SIGUSR1) == 0 && from(me(), SI_TKILL), "tkill");
    ok(syscall(SYS_tgkill, me(), tid(), SIGUSR1) == 0 && from(me(), SI_TKILL), "tgkill");
    ok(sigqueue(me(), SIGUSR1, (union sigval){.sival_int = 7}) == 0 && from(me(), SI_QUEUE) && last.si_value.sival_int == 7, "sigqueue");
    ok(pthread_sigqueue(pthread_self(), SIGUSR1, (union sigval){.sival_int = 8}) == 0 && from(me(), SI_QUEUE), "pthread_sigqueue");
    ok(pthread_kill(pthread_self(), SIGUSR1) == 0 && from(me(), SI_TKILL), "pthread_kill");
    pid_t p = born(fork_clean());
    if (p == 0) _exit(kill(parent(), SIGUSR1));
    ok(ended(p) == p && from(p, SI_USER), "kill by a child, which has ended");
    p = born(fork_clean());
    if (p == 0) _exit(sigqueue(parent(), SIGUSR1, (union sigval){.sival_int = 3}));
    ok(ended(p) == p && from(p, SI_QUEUE), "sigqueue by a child");
    p = sleeps();
    int fd = syscall(SYS_pidfd_open, p, 0);
    ok(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 && fdinfo(fd) == p, "a pidfd of a child");
    ok(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0 && see(waitpid(p, &st, 0)) == p && WTERMSIG(st) == SIGTERM, "killed by its pidfd");
    ok(fails(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH), "and gone");
    close(fd);
    /* what a child is told */
    p = born(fork_clean());
    if (p == 0) {
        handle(SIGUSR2, 0);
        shared->flag[0] = 1;
        _exit(from(parent(), SI_USER) ? 0 : 1);
    }
    while (!shared->flag[0]) sleep_ms(1);
    shared->flag[0] = 0;
    ok(kill(p, SIGUSR2) == 0 && see(waitpid(p, &st, 0)) == p && st == 0, "a child is told its parent");
    /* of children */
    handle(SIGCHLD, SA_RESTART);
    p = exits(3);
    ok(from(p, CLD_EXITED) && last.si_status == 3 && ended(p) == p, "SIGCHLD of an exit");
    handle(SIGCHLD, SA_RESTART);
    p = sleeps();
    kill(p, SIGSTOP);
    ok(from(p, CLD_STOPPED) && last.si_status == SIGSTOP, "SIGCHLD of a stop");
    kill(p, SIGCONT);
    ok(from(p, CLD_CONTINUED), "SIGCHLD of a continuation");
    kill(p, SIGTERM);
    ok(from(p, CLD_KILLED) && last.si_status == SIGTERM && ended(p) == p, "SIGCHLD of a death");
    signal(SIGCHLD, SIG_DFL);
    /* by waiting */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    p = born(fork_clean());
    if (p == 0) { kill(parent(), SIGUSR1); for (;;) pause(); }
    ok(sigwaitinfo(&set, &si) == SIGUSR1 && see(si.si_pid) == p, "sigwaitinfo, kill");
    kill(p, SIGKILL);
    ok(sigwaitinfo(&set, &si) == SIGCHLD && see(si.si_pid) == p && si.si_status == SIGKILL, "sigwaitinfo, SIGCHLD");
    ended(p);
    kill(me(), SIGUSR1);
    struct timespec soon = {2, 0}, now = {0, 0};
    ok(sigtimedwait(&set, &si, &soon) == SIGUSR1 && see(si.si_pid) == me(), "sigtimedwait");
    ok(fails(sigtimedwait(&set, &si, &now), EAGAIN), "sigtimedwait for nothing");
    sigqueue(me(), SIGUSR1, (union sigval){.sival_int = 9});
    ok(sigwaitinfo(&set, &si) == SIGUSR1 && see(si.si_pid) == me() && si.si_value.sival_int == 9, "sigwaitinfo, sigqueue");
    struct signalfd_siginfo got[3] = {0};
    int signals = signalfd(-1, &set, SFD_NONBLOCK), pipes[2];
    ok(signals >= 0 && fails(read(signals, got, sizeof got), EAGAIN), "signalfd");
    kill(me(), SIGUSR1);
    ok(read(signals, got, sizeof got) == sizeof *got && see(got[0].ssi_pid) == me() && got[0].ssi_code == SI_USER, "signalfd, kill");
    sigqueue(me(), SIGUSR1, (union sigval){.sival_int = 4});
    p = exits(5);
    waitid(P_PID, p, &si, WEXITED | WNOWAIT);
    struct iovec pieces[2] = {{got, 14}, {(char *)got + 14, sizeof got - 14}};
    ok(readv(signals, pieces, 2) == 2 * sizeof *got, "signalfd, two by readv");
    ok(see(got[0].ssi_pid) == me() && got[0].ssi_int == 4 && see(got[1].ssi_pid) == p && got[1].ssi_status == 5, "sigqueue and SIGCHLD");
    ok(ended(p) == p && fails(read(signals, got, sizeof got), EAGAIN), "no signal is left");
    p = born(fork_clean());
    if (p == 0) {
        kill(me(), SIGUSR1);
        _exit(read(signals, got, sizeof got) == sizeof *got && see(got[0].ssi_pid) == me() ? 0 : 1);
    }
    ok(see(waitpid(p, &st, 0)) == p && st == 0, "signalfd in a child");
    sigtimedwait(&set, &si, &now); /* the SIGCHLD of that child */
    int others[8], heard = 0;
    for (int i = 0; i < 8; i++) {
        others[i] = signalfd(-1, &set, 0);
        kill(me(), SIGUSR1);
        heard += read(others[i], got, sizeof got) == sizeof *got && see(got[0].ssi_pid) == me();
    }
    ok(heard == 8, "many of them");
    for (int i = 0; i < 8; i++) close(others[i]);
    close(signals);
    ok(pipe(pipes) == 0 && write(pipes[1], "0123456789abcdef", 16) == 16 && read(pipes[0], got, sizeof got) == 16, "what has their number now");
    ok(!memcmp(got, "0123456789abcdef", 16), "is read as ever");
    close(pipes[0]), close(pipes[1]);
    sigprocmask(SIG_SETMASK, &old, NULL);
    /* to whom */
    ok(fails(kill(UNUSED_PID, 0), ESRCH) && fails(kill(-UNUSED_PID, 0), ESRCH), "kill of nobody");
    ok(fails(syscall(SYS_tkill, UNUSED_PID, 0), ESRCH) && fails(syscall(SYS_tgkill, me(), UNUSED_PID, 0), ESRCH), "tkill, tgkill of nobody");
    ok(fails(syscall(SYS_tkill, 0, 0), EINVAL) && fails(syscall(SYS_tgkill, -1, 1, 0), EINVAL), "tkill, tgkill of no number");
    ok(fails(kill(me(), 99), EINVAL) && fails(kill(INT_MIN, 0), ESRCH), "kill with bad arguments");
    ok(fails(sigqueue(UNUSED_PID, SIGUSR1, (union sigval){.sival_int = 1}), ESRCH), "sigqueue to nobody");
    ok(fails(syscall(SYS_pidfd_open, UNUSED_PID, 0), ESRCH) && fails(syscall(SYS_pidfd_open, 0, 0), EINVAL), "pidfd_open of nobody");
    ok(fails(syscall(SYS_pidfd_open, me(), 77), EINVAL), "pidfd_open with an unknown flag");
}

#include "pids_shared.h"
#include "pids_more.h"

int main(int argc, char **argv) {
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (argc == 4 && !strcmp(argv[1], "am")) {
        /* silent: the parent tells */
        pid_t p = atoi(argv[2]);
        int right = (p == 0 || p == getpid()) && getpid() == (pid_t)syscall(SYS_gettid) && getppid() == atoi(argv[3]) &&
                    stat_of("self", 1) == getpid() && stat_of("self", 4) == getppid() && !listed("/proc/self/task", 0);
        return right ? 0 : 8;
    }
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 2;
    signal(SIGALRM, SIG_DFL);
    alarm(60);
    if (argc == 3 && !strcmp(argv[1], "search") && !search_from_now(__builtin_frame_address(0), argv[2])) {
        note("no number is told");
        return 0;
    }
    who_am_i("at first");
    pid_t p = born(fork_clean());
    if (p == 0) { who_am_i("a child"); _exit(finish()); }
    ok(ended(p) == p, "a child");
    births();
    waits();
    signals();
    more();
    p = exits(0);
    ended(p);
    note("greatest %ld last %d", shared->greatest, p);
    return finish();
}
