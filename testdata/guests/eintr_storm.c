/* eintr_storm: path calls never fail with EINTR, whatever signals arrive.
 *
 * A 5 kHz timer whose handler has no SA_RESTART fires during 20,000 stats and some thousands of other path calls.
 * In Linux none of them is ever interrupted; a supervisor that sleeps in between must hide that it does. */
#include "check.h"
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static void tick(int sig) { (void)sig; ticks++; }

static int interrupted, failed;
static void count(long r, int expected) {
    if (r >= 0) return;
    if (errno == EINTR) interrupted++;
    else if (errno != expected) failed++;
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 20000;
    struct sigaction sa = {.sa_handler = tick};
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval it = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &it, NULL);

    struct stat st;
    char buf[PATH_MAX];
    for (int i = 0; i < n; i++) count(stat(i & 1 ? "/usr/bin" : "/etc/passwd", &st), 0);
    ok(interrupted == 0 && failed == 0, "stat under a timer: %d interrupted, %d failed", interrupted, failed);

    interrupted = failed = 0;
    for (int i = 0; i < n / 10; i++) {
        int fd = open("/etc/passwd", O_RDONLY);
        count(fd, 0);
        if (fd >= 0) close(fd);
        count(open("/nowhere", O_RDONLY), ENOENT);
        count(access("/usr/lib", R_OK), 0);
        count(readlink("/proc/self/exe", buf, sizeof buf), 0);
        count(getcwd(buf, sizeof buf) ? 0 : -1, 0);
        count(chdir("."), 0);
    }
    ok(interrupted == 0 && failed == 0, "open access readlink getcwd chdir: %d interrupted, %d failed", interrupted, failed);

    interrupted = failed = 0;
    for (int i = 0; i < 100; i++) {
        pid_t p = fork();
        if (p == 0) {
            /* timers are not inherited: the child gets its own storm, up to exec, which clears the handler */
            setitimer(ITIMER_REAL, &it, NULL);
            for (int k = 0; k < 20; k++)
                if (stat("/usr", &st) < 0) _exit(1);
            struct itimerval none = {{0, 0}, {0, 0}};
            setitimer(ITIMER_REAL, &none, NULL);
            execl("/bin/true", "true", NULL);
            _exit(2);
        }
        count(p, 0);
        int ws = 0;
        while (waitpid(p, &ws, 0) < 0 && errno == EINTR) {}
        if (ws) failed++;
    }
    ok(interrupted == 0 && failed == 0, "fork stat exec: %d interrupted, %d failed", interrupted, failed);
    ok(ticks > 20, "the timer fired all the time");
    note("%d ticks", (int)ticks);
    return finish();
}
