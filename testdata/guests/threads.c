/* threads: many threads at once, signals to one of them, fork from any of them, and what they share.
 *
 * The working directory and the umask belong to the file-system context (CLONE_FS): threads share it, a fork copies
 * it, unshare(CLONE_FS) splits it. A supervisor that keeps a virtual directory must keep it per context. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

static int bad;
#define COUNT_IF(c) do { if (c) __atomic_fetch_add(&bad, 1, __ATOMIC_SEQ_CST); } while (0)

static void *short_life(void *arg) {
    struct stat st;
    COUNT_IF(stat("/etc/passwd", &st) < 0);
    int fd = open("/etc/passwd", O_RDONLY);
    COUNT_IF(fd < 0);
    close(fd);
    return arg;
}

static void create_and_join(void) {
    for (int round = 0; round < 20; round++) {
        pthread_t t[50];
        for (int i = 0; i < 50; i++) COUNT_IF(pthread_create(&t[i], NULL, short_life, NULL));
        for (int i = 0; i < 50; i++) pthread_join(t[i], NULL);
    }
    ok(bad == 0, "1000 threads, 50 at a time: %d failed", bad);
    pthread_t t[200];
    for (int i = 0; i < 200; i++) COUNT_IF(pthread_create(&t[i], NULL, short_life, NULL));
    for (int i = 0; i < 200; i++) pthread_join(t[i], NULL);
    ok(bad == 0, "200 threads at once: %d failed", bad);
}

static __thread volatile int got_here;
static volatile int wrong_thread, right_thread;
static void on_usr1(int sig) {
    (void)sig;
    if (got_here) right_thread++;
    else wrong_thread++;
}
static volatile int quit;
static void *target(void *arg) {
    got_here = 1;
    struct stat st;
    while (!quit) stat("/usr/bin", &st);
    return arg;
}

static void directed_signals(void) {
    struct sigaction sa = {.sa_handler = on_usr1};
    sigaction(SIGUSR1, &sa, NULL);
    pthread_t t;
    pthread_create(&t, NULL, target, NULL);
    sleep_ms(20);
    for (int i = 0; i < 200; i++) {
        int before = right_thread;
        pthread_kill(t, SIGUSR1);
        while (right_thread == before && !wrong_thread) sched_yield();
    }
    quit = 1;
    pthread_join(t, NULL);
    ok(right_thread == 200 && wrong_thread == 0, "pthread_kill reaches its thread: %d right, %d wrong", right_thread, wrong_thread);
}

static void *fork_here(void *arg) {
    for (int i = 0; i < 10; i++) {
        pid_t p = fork();
        if (p == 0) {
            struct stat st;
            _exit(stat("/etc/passwd", &st) < 0 || syscall(SYS_gettid) != getpid());
        }
        int st = -1;
        waitpid(p, &st, 0);
        COUNT_IF(st != 0);
    }
    return arg;
}

static void forks(void) {
    pthread_t t[8];
    bad = 0;
    for (int i = 0; i < 8; i++) pthread_create(&t[i], NULL, fork_here, NULL);
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
    ok(bad == 0, "fork from eight threads at once: %d failed", bad);
}

static void where(const char *label) {
    char buf[PATH_MAX];
    const char *slash = getcwd(buf, sizeof buf) ? strrchr(buf, '/') : NULL;
    printf("%s: %s\n", label, slash ? slash + 1 : errname(errno));
}

static void *go_to_two(void *arg) {
    COUNT_IF(chdir("../two") < 0);
    umask(027);
    return arg;
}
static void *split(void *arg) {
    COUNT_IF(unshare(CLONE_FS) < 0);
    COUNT_IF(chdir("../three") < 0);
    umask(070);
    where("thread after unshare(CLONE_FS) and chdir");
    return arg;
}

static void shared_context(void) {
    pthread_t t;
    bad = 0;
    mkdir("one", 0755), mkdir("two", 0755), mkdir("three", 0755);
    COUNT_IF(chdir("one") < 0);
    umask(022);
    where("at first");
    pthread_create(&t, NULL, go_to_two, NULL);
    pthread_join(t, NULL);
    where("after a thread's chdir");
    mode_t m = umask(022);
    printf("umask set by the thread: %03o\n", m);
    pthread_create(&t, NULL, split, NULL);
    pthread_join(t, NULL);
    where("after the chdir of a thread that had split off");
    m = umask(022);
    printf("umask: %03o\n", m);
    put("file", "in two", 0644);
    struct stat st;
    fact("relative paths follow", stat("../two/file", &st));
    pid_t p = fork_clean();
    if (p == 0) {
        COUNT_IF(chdir("../three") < 0);
        umask(077);
        where("a forked child");
        fflush(NULL);
        _exit(bad);
    }
    int ws = -1;
    waitpid(p, &ws, 0);
    where("its parent");
    m = umask(022);
    printf("umask of the parent: %03o\n", m);
    ok(bad == 0 && ws == 0, "no call failed");

    /* a child that shares the context but nothing else, as vfork-like helpers do */
    fflush(NULL);
    p = syscall(SYS_clone, CLONE_FS | SIGCHLD, NULL, NULL, NULL, NULL);
    if (p == 0) _exit(chdir("../three") < 0);
    waitpid(p, &ws, 0);
    where("after the chdir of a clone(CLONE_FS) child");
    fflush(NULL);
    p = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (p == 0) {
        int fd = open("/etc/passwd", O_RDONLY);
        _exit(fd < 0 || dup2(fd, 77) != 77);
    }
    waitpid(p, &ws, 0);
    ok(fcntl(77, F_GETFD) >= 0, "a descriptor opened by a clone(CLONE_FILES) child is ours too");
    close(77);
}

static volatile int worker_tid;
static void *exits_alone(void *arg) {
    worker_tid = syscall(SYS_gettid);
    return arg;
}
static void *ends_the_process(void *arg) {
    (void)arg;
    exit(5);
}

static void endings(void) {
    pthread_t t;
    pthread_create(&t, NULL, exits_alone, NULL);
    pthread_join(t, NULL);
    ok(worker_tid != getpid(), "a thread has a number of its own");
    pid_t p = fork_clean();
    if (p == 0) { pthread_create(&t, NULL, ends_the_process, NULL); pause(); }
    int ws;
    waitpid(p, &ws, 0);
    ok(WIFEXITED(ws) && WEXITSTATUS(ws) == 5, "exit() in a thread ends the process");
    p = fork_clean();
    if (p == 0) {
        /* the leader leaves first: the process lives on in the thread */
        pthread_create(&t, NULL, fork_here, NULL);
        syscall(SYS_exit, 9);
    }
    waitpid(p, &ws, 0);
    ok(WIFEXITED(ws), "a process outlives its first thread and ends with the last");
}

int main(void) {
    create_and_join();
    directed_signals();
    forks();
    shared_context();
    endings();
    return finish();
}
