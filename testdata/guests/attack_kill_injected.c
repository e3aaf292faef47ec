/* attack_kill_injected: signals that come while sbox has a process make calls for it.
 *
 *   script   kills a process with threads, at random moments, while it execs a script
 *   socket   the same while it makes its first datagram socket
 *   stop     stops one there: it must stop, and go on when it is told */
#include "check.h"
#include <pthread.h>
#include <sys/socket.h>

static void *forever(void *unused) {
    for (;;) pause();
    return unused;
}

static void child(const char *mode) {
    static char *argv[] = {"script", NULL}, *env[] = {NULL};
    pthread_t thread;
    if (strcmp(mode, "stop"))
        for (int i = 0; i < 2; i++) pthread_create(&thread, NULL, forever, NULL);
    if (!strcmp(mode, "script")) execve("./script", argv, env);
    else socket(AF_UNIX, SOCK_DGRAM, 0);
    if (!strcmp(mode, "stop")) forever(NULL);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    int stop = !strcmp(argv[1], "stop"), lost = 0, status;
    put("script", "#!/bin/true\n", 0755);
    for (int i = 0; i < (stop ? 100 : 300); i++) {
        pid_t pid = fork();
        if (pid == 0) child(argv[1]);
        for (long end = now_us() + i % 100 * 10; now_us() < end;) {}
        kill(pid, stop ? SIGSTOP : SIGKILL);
        if (stop) {
            for (long end = now_us() + 2000000; now_us() < end;)
                if (waitpid(pid, &status, WUNTRACED | WNOHANG) == pid) break;
                else if (now_us() + 1000 >= end) lost++;
            kill(pid, SIGCONT);
            kill(pid, SIGKILL);
        }
        waitpid(pid, &status, 0);
    }
    ok(lost == 0, "%s: %d stops lost", argv[1], lost);
    return finish();
}
