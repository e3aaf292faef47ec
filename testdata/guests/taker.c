/* taker: not a guest, but a process of the host that has the number NUMBER, as the leader of a group of its own: which takes root.
 *
 * Says "have", and for each SIGINT or SIGQUIT that it gets "hit". Ends after ten seconds. */
#include "check.h"
#include <linux/sched.h>
#include <sys/prctl.h>

static void hit(int signal) {
    (void)signal;
    if (write(1, "hit\n", 4) < 0) _exit(1);
}

int main(int argc, char **argv) {
    pid_t wanted = argc > 1 ? atoi(argv[1]) : 0;
    struct clone_args how = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1};
    pid_t p = (pid_t)syscall(SYS_clone3, &how, sizeof how);
    if (p < 0) {
        printf("%s\n", errname(errno));
        return 3;
    }
    if (p) {
        waitpid(p, NULL, 0);
        return 0;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    struct sigaction act = {.sa_handler = hit};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGQUIT, &act, NULL);
    alarm(10);
    puts("have");
    fflush(stdout);
    for (;;) pause();
}
