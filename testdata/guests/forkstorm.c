/* forkstorm: a workload that is always in the middle of something, for killing its supervisor.
 *
 *   forkstorm MARKER
 *
 * Three trees of processes fork, exec themselves, open files, pause, run threads and leave
 * their session, and never stop by themselves before 20 seconds. MARKER is in every argv, for finding survivors. */
#include "check.h"
#include <pthread.h>
#include <sys/prctl.h>

static void *busy(void *arg) {
    for (;;) { int fd = open("/etc/passwd", O_RDONLY); close(fd); }
    return arg;
}

static void brood(const char *self, char *marker) {
    for (volatile int i = 0;; i++) {
        pid_t p = i % 3 == 1 ? vfork() : fork();
        if (p == 0) {
            if (i % 3 == 0 && i < 12) {
                setsid();
                signal(SIGTERM, SIG_IGN);
                signal(SIGHUP, SIG_IGN);
                if (fork() == 0) { alarm(20); pause(); }        /* a daemon: nobody's child any more */
                _exit(0);
            }
            char *argv[] = {(char *)self, marker, "leaf", NULL};
            execv(self, argv);
            _exit(1);
        }
        if (i > 12) { waitpid(p, NULL, 0); sleep_ms(1); if (i > 16) i = 14; }
    }
}

int main(int argc, char **argv) {
    alarm(20);
    if (argc > 2) {                     /* a leaf: some calls, then gone */
        struct stat st;
        for (int i = 0; i < 5; i++) stat("/usr/bin", &st);
        return 0;
    }
    if (argc < 2) return 2;
    for (int i = 0; i < 2; i++)
        if (fork() == 0) { alarm(20); brood(argv[0], argv[1]); }
    pthread_t t;
    pthread_create(&t, NULL, busy, NULL);
    puts("up");
    fflush(stdout);
    brood(argv[0], argv[1]);
}
