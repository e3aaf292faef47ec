/* sentinel: a process outside the sandbox that tells whether anything reached it.
 *
 * Prints "ready", then the name of every signal that arrives, until its standard input ends. */
#include "check.h"

int main(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    puts("ready");
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    for (;;) {
        struct timespec t = {0, 20000000};
        int sig = sigtimedwait(&all, NULL, &t);
        if (sig > 0) { printf("got %s\n", sigabbrev_np(sig)); fflush(stdout); }
        char c;
        if (read(0, &c, 1) == 0) return 0;
    }
}
