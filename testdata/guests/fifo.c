/* fifo: opening a FIFO sleeps until the other end comes, and nobody else sleeps with it.
 *
 * Rendezvous in every order, O_NONBLOCK, signal handlers with and without SA_RESTART, SIGKILL while asleep,
 * and the delay of other processes' path calls while one sleeps. Runs in a writable directory. */
#include "check.h"
#include <pthread.h>

static const char *path = "the.fifo";
static volatile sig_atomic_t handled;
static void on_usr1(int sig) { (void)sig; handled++; }

/* A child that opens the FIFO with these flags: exits 0 on success, else with the errno. */
static pid_t opener(int flags, int sa_flags) {
    pid_t p = fork_clean();
    if (p) return p;
    struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = sa_flags};
    sigaction(SIGUSR1, &sa, NULL);
    int fd = open(path, flags);
    _exit(fd < 0 ? errno : handled ? 200 : 0);
}

static int asleep(pid_t p) { return reap(p, 120) == -1; }

static void *thread_open(void *flags) {
    int fd = open(path, (int)(intptr_t)flags);
    return (void *)(intptr_t)fd;
}

static void rendezvous(void) {
    static const struct { int first, second; const char *name; } order[] = {
        {O_RDONLY, O_WRONLY, "reader first"}, {O_WRONLY, O_RDONLY, "writer first"}};
    for (int i = 0; i < 2; i++) {
        pid_t p = opener(order[i].first, 0);
        ok(asleep(p), "%s, process: the first sleeps", order[i].name);
        int fd = open(path, order[i].second);
        ok(fd >= 0, "%s, process: the second opens", order[i].name);
        ok(reap(p, 2000) == 0, "%s, process: the first wakes", order[i].name);
        close(fd);

        pthread_t t;
        void *got;
        pthread_create(&t, NULL, thread_open, (void *)(intptr_t)order[i].first);
        sleep_ms(40);
        fd = open(path, order[i].second);
        pthread_join(t, &got);
        int other = (int)(intptr_t)got;
        ok(fd >= 0 && other >= 0, "%s, thread: both open", order[i].name);
        int rd = order[i].first == O_RDONLY ? other : fd, wr = order[i].first == O_RDONLY ? fd : other;
        char c = 0;
        ok(write(wr, "x", 1) == 1 && read(rd, &c, 1) == 1 && c == 'x', "%s, thread: a byte passes", order[i].name);
        close(wr);
        ok(read(rd, &c, 1) == 0, "%s, thread: end of file once the writer is gone", order[i].name);
        close(rd);
    }
    pid_t a = opener(O_RDONLY, 0), b = opener(O_RDONLY, 0);
    ok(asleep(a) && asleep(b), "two readers sleep");
    int fd = open(path, O_WRONLY);
    ok(reap(a, 2000) == 0 && reap(b, 2000) == 0, "one writer wakes both");
    ok(fails(write(fd, "x", 1), EPIPE), "EPIPE when both readers are gone");
    close(fd);
}

static void nonblocking(void) {
    int r = open(path, O_RDONLY | O_NONBLOCK);
    ok(r >= 0, "a nonblocking reader opens at once");
    int w = open(path, O_WRONLY | O_NONBLOCK);
    ok(w >= 0, "a nonblocking writer opens when there is a reader");
    close(r);
    close(w);
    ok(fails(open(path, O_WRONLY | O_NONBLOCK), ENXIO), "ENXIO for a nonblocking writer alone");
    int rw = open(path, O_RDWR);
    ok(rw >= 0, "read and write opens at once");
    ok((fcntl(rw, F_GETFL) & O_NONBLOCK) == 0, "and is a blocking descriptor");
    close(rw);
    fact_fd("O_PATH of a FIFO does not sleep", open(path, O_PATH));
    fact_fd("O_DIRECTORY on a FIFO", open(path, O_RDONLY | O_DIRECTORY));
}

static void interrupted(void) {
    pid_t p = opener(O_RDONLY, 0);
    ok(asleep(p), "sleeping before the signal");
    kill(p, SIGUSR1);
    int st = reap(p, 2000);
    ok(WIFEXITED(st) && WEXITSTATUS(st) == EINTR, "a handler without SA_RESTART: EINTR");
    if (st == -1) { kill(p, SIGKILL); reap(p, 2000); }

    p = opener(O_RDONLY, SA_RESTART);
    ok(asleep(p), "sleeping before the signal with SA_RESTART");
    kill(p, SIGUSR1);
    ok(asleep(p), "a handler with SA_RESTART: sleeps on");
    int fd = open(path, O_WRONLY);
    st = reap(p, 2000);
    ok(WIFEXITED(st) && WEXITSTATUS(st) == 200, "and opens after the handler ran");
    close(fd);

    p = opener(O_RDONLY, 0);
    ok(asleep(p), "sleeping before SIGSTOP");
    kill(p, SIGSTOP);
    int ws;
    ok(waitpid(p, &ws, WUNTRACED) == p && WIFSTOPPED(ws), "stops while it sleeps");
    kill(p, SIGCONT);
    ok(asleep(p), "sleeps on after SIGCONT");
    fd = open(path, O_WRONLY);
    ok(reap(p, 2000) == 0, "and opens");
    close(fd);
}

static void killed(void) {
    pid_t p = opener(O_RDONLY, 0);
    ok(asleep(p), "sleeping before SIGKILL");
    kill(p, SIGKILL);
    int st = reap(p, 2000);
    ok(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "dies at once");
    sleep_ms(20);
    ok(fails(open(path, O_WRONLY | O_NONBLOCK), ENXIO), "and leaves no reader behind");
}

/* Many sleepers, and three busy processes whose slowest call is measured. */
static void nobody_else_waits(void) {
    enum { SLEEPERS = 20 };
    pid_t sleeper[SLEEPERS], busy[3];
    for (int i = 0; i < SLEEPERS; i++) sleeper[i] = opener(O_RDONLY, 0);
    ok(asleep(sleeper[SLEEPERS - 1]), "%d readers sleep", SLEEPERS);
    int pipefd[2];
    if (pipe(pipefd)) exit(2);
    for (int i = 0; i < 3; i++) {
        if ((busy[i] = fork_clean())) continue;
        long worst = 0, end = now_us() + 500000;
        while (now_us() < end) {
            long t = now_us();
            struct stat st;
            stat("/etc/passwd", &st);
            int fd = open("/etc/passwd", O_RDONLY);
            close(fd);
            t = now_us() - t;
            if (t > worst) worst = t;
        }
        if (write(pipefd[1], &worst, sizeof worst) < 0) _exit(1);
        _exit(0);
    }
    long worst = 0, w;
    for (int i = 0; i < 3; i++) {
        if (read(pipefd[0], &w, sizeof w) == sizeof w && w > worst) worst = w;
        reap(busy[i], 2000);
    }
    note("slowest stat + open while others sleep in a FIFO: %ld us", worst);
    ok(worst < 400000, "no call of another process waits for the sleepers");
    int fd = open(path, O_WRONLY), woken = 0;
    for (int i = 0; i < SLEEPERS; i++) woken += reap(sleeper[i], 2000) == 0;
    ok(woken == SLEEPERS, "all of them wake (%d)", woken);
    close(fd);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    unlink(path);
    ok(mkfifo(path, 0600) == 0, "mkfifo");
    rendezvous();
    nonblocking();
    interrupted();
    killed();
    nobody_else_waits();
    unlink(path);
    return finish();
}
