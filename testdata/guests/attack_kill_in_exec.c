/* attack_kill_in_exec: kills processes in the middle of the exec of a script. No process may stay in /proc that the
 * kernel no longer has: its number can come to mean one of the host's, whose files could then be read.
 *
 *   attack_kill_in_exec ROUNDS      must find no stale entries */
#include "check.h"
#include <dirent.h>

/* Scripts in the private /tmp: the first is run by the second, the second by a program. */
static void script(const char *path, const char *line) {
    int fd = open(path, O_CREAT | O_WRONLY, 0755);
    write(fd, line, strlen(line));
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    script("/tmp/s", "#!/tmp/s2\n");
    script("/tmp/s2", "#!/bin/true\n");
    static char *args[2001]; /* many, for a long exec */
    for (int i = 0; i < 2000; i++) args[i] = "x";
    int killed = 0, rounds = atoi(argv[1]);
    for (int i = 0; i < rounds; i++) {
        pid_t p = fork();
        if (p == 0) {
            execv("/tmp/s", args);
            _exit(9);
        }
        usleep(rand() % 4000);
        kill(p, SIGKILL);
        int status;
        waitpid(p, &status, 0);
        killed += WIFSIGNALED(status);
    }
    sleep_ms(300);
    int stale = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; (e = readdir(proc));) {
        int pid = atoi(e->d_name);
        if (pid > 0 && pid != getpid() && kill(pid, 0) < 0 && errno == ESRCH) stale++;
    }
    ok(stale == 0, "%d stale entries", stale);
    ok(killed > 0, "some were killed in time");
    note("killed %d of %d", killed, rounds);
    return finish();
}
