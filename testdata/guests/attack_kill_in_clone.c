/* attack_kill_in_clone: kills processes in the middle of making children, also such as become somebody else's
 * (CLONE_PARENT). A child whose maker never reports it must not stay stopped for ever: each holds a pipe open.
 *
 *   attack_kill_in_clone ROUNDS */
#include "check.h"
#include <poll.h>
#include <sched.h>

enum { PATIENCE_MS = 10000, HOGS = 2 };

static void make_children(int flags) {
    for (;;) {
        if (syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0) == 0) _exit(0);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    signal(SIGCHLD, SIG_IGN);
    int held[2];
    pipe(held);
    /* With the processors busy, a maker is more often killed between the child's first stop and its own report. */
    pid_t hogs[HOGS];
    for (int i = 0; i < HOGS; i++) {
        if ((hogs[i] = fork_clean()) == 0) {
            close(held[1]);
            for (;;) {}
        }
    }
    for (int i = atoi(argv[1]); i > 0; i--) {
        pid_t p = fork_clean();
        if (p == 0) make_children(i & 1 ? CLONE_PARENT : 0);
        usleep(500 + rand() % 4000);
        kill(p, SIGKILL);
    }
    for (int i = 0; i < HOGS; i++) kill(hogs[i], SIGKILL);
    close(held[1]);
    long start = now_us();
    struct pollfd all_gone = {.fd = held[0]};
    ok(poll(&all_gone, 1, PATIENCE_MS) == 1, "all children end");
    note("after %ld ms", (now_us() - start) / 1000);
    return finish();
}
