/* throng: many processes and threads.
 *
 *   throng zombies N    N processes that have ended and aren't waited for are all there
 *   throng exec N       N times fork, exec and wait
 *   throng fork N       N times fork and wait; a line at each tenth, then waits for input
 *   throng threads N    N threads at a time
 *   throng mutexes      mutexes that the kernel knows the owner of, in processes that share them
 *   throng wrap N       N processes while others live: nobody gets a number that another has */
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>

static char self[4096];

static int state_of(pid_t p) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", p);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    close(fd);
    char *end = strrchr(text, ')');
    return end ? end[2] : 0;
}

static int compare(const void *a, const void *b) { return *(const pid_t *)a - *(const pid_t *)b; }

/* How many numbers are listed; with `all`, how many of these. */
static int listed(const char *path, const pid_t *all, int count) {
    DIR *dir = opendir(path);
    int n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        pid_t number = atoi(e->d_name);
        n += number > 0 && (!all || bsearch(&number, all, (size_t)count, sizeof *all, compare));
    }
    if (dir) closedir(dir);
    return n;
}

static void zombies(int n) {
    pid_t *all = calloc((size_t)n, sizeof *all);
    int signalled = 0, shown = 0, grouped = 0, waited = 0, gone = 0;
    for (int i = 0; i < n; i++) {
        all[i] = fork_clean();
        if (!all[i]) _exit(i & 127);
        siginfo_t si;
        waitid(P_PID, (id_t)all[i], &si, WEXITED | WNOWAIT);
    }
    for (int i = 0; i < n; i++) {
        signalled += kill(all[i], 0) == 0;
        grouped += getpgid(all[i]) == getpgrp();
    }
    for (int i = 0; i < n; i += 50) shown += state_of(all[i]) == 'Z';
    ok(signalled == n, "a signal reaches each");
    ok(grouped == n, "each has its group");
    ok(shown == (n + 49) / 50, "those looked for are in /proc");
    pid_t *sorted = calloc((size_t)n, sizeof *sorted);
    memcpy(sorted, all, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    ok(listed("/proc", sorted, n) == n, "and all are listed");
    free(sorted);
    for (int i = 0; i < n; i++) {
        int st;
        waited += waitpid(all[i], &st, 0) == all[i] && WIFEXITED(st) && WEXITSTATUS(st) == (i & 127);
        gone += fails(kill(all[i], 0), ESRCH);
    }
    ok(waited == n, "each can be waited for");
    ok(gone == n, "and then is gone");
    free(all);
}

static void many(int n, int exec) {
    int right = 0;
    long began = now_us();
    pid_t before = 0;
    int rising = 0;
    for (int i = 0; i < n; i++) {
        pid_t p = fork_clean();
        if (!p) {
            if (exec) execl(self, self, "end", (char *)NULL);
            _exit(exec ? 99 : 3);
        }
        int st;
        right += waitpid(p, &st, 0) == p && WIFEXITED(st) && WEXITSTATUS(st) == 3;
        rising += p > before;
        before = p;
        if (!exec && (i + 1) % (n / 10) == 0) {
            char c;
            note("at %d", i + 1);
            if (read(0, &c, 1) != 1) exit(2);
        }
    }
    ok(right == n, "all ended as they should");
    /* Numbers begin again at most now and then. */
    ok(rising >= n - 10, "each has a greater number than the one before");
    note("%.1f us each", (double)(now_us() - began) / n);
}

static pthread_barrier_t meet;
static pid_t *numbers;

static void *thread(void *arg) {
    numbers[(long)arg] = (pid_t)syscall(SYS_gettid);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    return arg;
}

static void threads(long n) {
    pthread_t *all = calloc((size_t)n, sizeof *all);
    numbers = calloc((size_t)n, sizeof *numbers);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    pthread_barrier_init(&meet, NULL, (unsigned)n + 1);
    long began = now_us(), made = 0, joined = 0, alike = 0;
    for (long i = 0; i < n; i++) made += pthread_create(&all[i], &attr, thread, (void *)i) == 0;
    if (!ok(made == n, "all are made")) exit(1);
    pthread_barrier_wait(&meet);
    ok(listed("/proc/self/task", NULL, 0) == n + 1, "all are listed");
    qsort(numbers, (size_t)n, sizeof *numbers, compare);
    for (long i = 1; i < n; i++) alike += numbers[i] == numbers[i - 1];
    ok(alike == 0 && numbers[0] != getpid(), "each has a number of its own");
    long answer = 0;
    for (long i = 0; i < n; i++) answer += syscall(SYS_tgkill, getpid(), numbers[i], 0) == 0;
    ok(answer == n, "by which it can be signalled");
    pthread_barrier_wait(&meet);
    for (long i = 0; i < n; i++) {
        void *back;
        joined += pthread_join(all[i], &back) == 0 && back == (void *)i;
    }
    ok(joined == n, "all are joined");
    /* pthread_join(3) returns before the thread has left the kernel's list. */
    for (int waited = 0; waited < 500 && listed("/proc/self/task", NULL, 0) != 1; waited++) usleep(10000);
    ok(listed("/proc/self/task", NULL, 0) == 1, "and listed no more");
    note("%.1f us each", (double)(now_us() - began) / n);
}

static struct both {
    pthread_mutex_t pi, robust, robust_pi;
    volatile int held, order[2], at, counter;
} *both;

static void mutex(pthread_mutex_t *m, int robust, int pi) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (robust) pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    if (pi) pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    ok(pthread_mutex_init(m, &attr) == 0, "a mutex");
}

/* Its owner ends with it: by exit, by a signal, by exec. */
static void inherited(pthread_mutex_t *m, const char *name) {
    for (int how = 0; how < 3; how++) {
        both->held = 0;
        pid_t p = fork_clean();
        if (!p) {
            pthread_mutex_lock(m);
            both->held = 1;
            sleep_ms(50);
            if (how == 0) _exit(3);
            if (how == 1) raise(SIGKILL);
            execl(self, self, "end", (char *)NULL);
            _exit(99);
        }
        while (!both->held) sleep_ms(1);
        int r = pthread_mutex_lock(m); /* waits for it */
        ok(r == EOWNERDEAD, "%s: told of the owner's end, %d", name, how);
        ok(pthread_mutex_consistent(m) == 0 && pthread_mutex_unlock(m) == 0, "%s: made whole", name);
        waitpid(p, NULL, 0);
    }
    ok(pthread_mutex_lock(m) == 0 && pthread_mutex_unlock(m) == 0, "%s: and used again", name);
}

/* Many who want it: no one has it with another. */
static void wanted(pthread_mutex_t *m, const char *name) {
    enum { WHO = 6, TIMES = 500 };
    pid_t all[WHO];
    both->counter = 0;
    for (int i = 0; i < WHO; i++) {
        all[i] = fork_clean();
        if (!all[i]) {
            int wrong = 0;
            for (int k = 0; k < TIMES; k++) {
                wrong += pthread_mutex_lock(m) != 0;
                int was = both->counter;
                if (k % 16 == 0) sched_yield();
                both->counter = was + 1;
                wrong += pthread_mutex_unlock(m) != 0;
            }
            _exit(wrong != 0);
        }
    }
    int right = 0;
    for (int i = 0; i < WHO; i++) right += reap(all[i], 60000) == 0;
    ok(right == WHO && both->counter == WHO * TIMES, "%s: one at a time", name);
}

static void mutexes(void) {
    both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mutex(&both->pi, 0, 1);
    mutex(&both->robust, 1, 0);
    mutex(&both->robust_pi, 1, 1);
    wanted(&both->pi, "pi");
    wanted(&both->robust, "robust");
    wanted(&both->robust_pi, "robust and pi");
    inherited(&both->robust, "robust");
    inherited(&both->robust_pi, "robust and pi");
    ok(pthread_mutex_lock(&both->pi) == 0 && pthread_mutex_lock(&both->pi) == EDEADLK, "the kernel knows who has it");
    pthread_mutex_unlock(&both->pi);
    pid_t p = fork_clean();
    if (!p) _exit(pthread_mutex_unlock(&both->pi) == EPERM ? 0 : 1);
    ok(reap(p, 20000) == 0, "and who hasn't");
}

static void wrap(int n) {
    enum { LIVE = 5 };
    pid_t live[LIVE];
    int hold[2];
    if (pipe(hold) < 0) exit(2);
    for (int i = 0; i < LIVE; i++) {
        live[i] = fork_clean();
        if (!live[i]) {
            char c;
            close(hold[1]);
            if (read(hold[0], &c, 1) != 0) _exit(1);
            _exit(40 + i);
        }
    }
    int right = 0, taken = 0, again = 0;
    pid_t before = 0, group = 0, leader;
    /* A group outlives its leader, and keeps that one's number. */
    leader = fork_clean();
    if (!leader) {
        setpgid(0, 0);
        pid_t member = fork_clean();
        if (!member) {
            char c;
            close(hold[1]);
            if (read(hold[0], &c, 1) != 0) _exit(1);
            _exit(getpgrp() != getppid() && kill(0, 0) == 0 ? 0 : 1);
        }
        _exit(0);
    }
    waitpid(leader, NULL, 0);
    group = leader;
    for (int i = 0; i < n; i++) {
        pid_t p = fork_clean();
        if (!p) _exit(getpid() == getpgrp());
        int st;
        right += waitpid(p, &st, 0) == p && st == 0;
        for (int k = 0; k < LIVE; k++) taken += p == live[k];
        taken += p == getpid() || p == getppid() || p == group || p == 1;
        again += p < before;
        before = p;
    }
    ok(right == n && taken == 0, "nobody gets a number that is taken");
    note("they began again %d times", again);
    ok(kill(-group, 0) == 0, "the group is there");
    close(hold[1]);
    int ends = 0, st;
    for (int k = 0; k < LIVE; k++) ends += waitpid(live[k], &st, 0) == live[k] && WEXITSTATUS(st) == 40 + k;
    ok(ends == LIVE, "each of those that lived is known by its number");
    for (long end = now_us() + 5000000; kill(-group, 0) == 0 && now_us() < end;) sleep_ms(1);
    ok(fails(kill(-group, 0), ESRCH), "the group is gone");
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    int n = argc > 2 ? atoi(argv[2]) : 0;
    if (!strcmp(mode, "end")) return 3;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 2;
    if (!strcmp(mode, "zombies")) zombies(n);
    if (!strcmp(mode, "exec")) many(n, 1);
    if (!strcmp(mode, "fork")) many(n, 0);
    if (!strcmp(mode, "threads")) threads(n);
    if (!strcmp(mode, "mutexes")) mutexes();
    if (!strcmp(mode, "wrap")) wrap(n);
    return finish();
}
