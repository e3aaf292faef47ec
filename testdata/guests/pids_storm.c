/* pids_storm: processes are killed at any moment of the calls that tell or take numbers; nobody is lost or taken for another. */
#include "check.h"
#include <dirent.h>
#include <pthread.h>

/* Makes, asks, signals and waits for ever. */
static void busy(unsigned seed) {
    for (;;) {
        pid_t p = seed & 1 ? fork() : vfork();
        if (p == 0) _exit(3);
        if (p < 0) continue;
        siginfo_t si = {0};
        int st = 0;
        kill(p, 0);
        setpgid(p, p);
        if (seed++ & 2) {
            if (waitid(P_PID, p, &si, WEXITED) == 0 && (si.si_pid != p || si.si_status != 3)) _exit(9);
        } else if (waitpid(p, &st, 0) != p || WEXITSTATUS(st) != 3) _exit(9);
        if (getppid() <= 0 || getpid() <= 1) _exit(9);
    }
}

static void *threads(void *arg) { busy((unsigned)(uintptr_t)arg); return NULL; }

int main(void) {
    unsigned random = (unsigned)now_us();
    int wrong = 0;
    for (int round = 0; round < 150; round++) {
        pid_t p = fork_clean();
        if (p == 0) {
            pthread_t t;
            if (round % 3 == 0) pthread_create(&t, NULL, threads, (void *)(uintptr_t)round);
            busy(round);
        }
        random = random * 1103515245 + 12345;
        usleep(random / 65536 % 4000);
        kill(p, SIGKILL);
        int st = 0, seen = 0;
        pid_t r;
        while ((r = waitpid(-1, &st, 0)) > 0) {
            seen += r == p;
            wrong += !WIFSIGNALED(st) || WTERMSIG(st) != SIGKILL;
        }
        wrong += seen != 1;
        if (kill(p, 0) == 0 || errno != ESRCH) wrong++;
    }
    ok(wrong == 0, "%d wrong", wrong);
    int left = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));) left += atoi(e->d_name) > 0;
    ok(left == 1, "one thread is left");
    return finish();
}
