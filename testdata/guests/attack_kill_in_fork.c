/* attack_kill_in_fork: kills processes in the middle of fork(2); the run must end all the same.
 *
 *   attack_kill_in_fork ROUNDS */
#include "check.h"

static void fork_all_the_time(void) {
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        if (fork() == 0) _exit(0);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    for (int i = atoi(argv[1]); i > 0; i--) {
        pid_t p = fork();
        if (p == 0) fork_all_the_time();
        usleep(1000 + rand() % 3000);
        kill(p, SIGKILL);
        waitpid(p, NULL, 0);
    }
    sleep_ms(300);
    ok(1, "done");
    return finish();
}
