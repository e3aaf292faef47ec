/* front_ended: gives the terminal to a group whose only process then ends, and tells that one's number on the host, which the
 * kernel has written into a word of memory (CLONE_CHILD_SETTID). */
#include "check.h"
#include <sched.h>
#include <sys/mman.h>

int main(void) {
    volatile int *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    pid_t p = (pid_t)syscall(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, 0, 0, word, 0);
    if (!p) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid());
        _exit(0);
    }
    int status;
    waitpid(p, &status, 0);
    printf("host=%d ready\n", *word);
    fflush(stdout);
    sleep(60);
    return 0;
}
