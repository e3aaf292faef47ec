/* image_killed: executes PROGRAM again and again, and kills each process that does after a moment.
 *
 * The program changes each time, so that nothing that was made for one exec serves the next. */
#include "check.h"

int main(int argc, char **argv) {
    int rounds = atoi(argv[2]), left = 0;
    (void)argc;
    for (int i = 0; i < rounds; i++) {
        int fd = open(argv[1], O_WRONLY);
        /* As long as a copy of it is being made, sbox has a lease on it. */
        for (int tries = 0; fd < 0 && errno == EAGAIN && tries < 5000; tries++) {
            sleep_ms(1);
            fd = open(argv[1], O_WRONLY);
        }
        if (fd < 0 || futimens(fd, NULL) < 0) { perror(argv[1]); return 2; }
        close(fd);
        pid_t p = fork_clean();
        if (!p) {
            execl(argv[1], "program", (char *)NULL);
            _exit(9);
        }
        sleep_ms(4);
        kill(p, SIGKILL);
        left += reap(p, 20000) < 0;
    }
    ok(left == 0, "all are dead");
    return finish();
}
