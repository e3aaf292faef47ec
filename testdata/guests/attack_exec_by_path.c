/* attack_exec_by_path: an approved program is run by way of a script of the host, whose #! line it would see.
 *
 *   attack_exec_by_path HOST_SCRIPT ROUNDS    HOST_SCRIPT is not in the view and begins with "#!/bin/sh -secretarg":
 *                                             nothing of that may be seen in the output
 *
 * The supervisor executes by descriptor, with an empty path: the end of the guest's own. The memory behind that end holds
 * the path of the script, and another process replaces the end by a slash. */
#include "check.h"
#include <sys/mman.h>

enum { END = sizeof "/bin/sh" - 1 };

static void spin(void) {
    for (volatile int i = rand() % 3000; i > 0; i--) {}
}

static void flip(char *path) {
    for (;;) {
        path[END] = '/';
        spin();
        path[END] = 0;
        spin();
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || argv[1][0] != '/') return 2;
    char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(path, "/bin/sh");
    strcpy(path + END + 1, argv[1] + 1);
    int out[2];
    pipe(out);
    pid_t flipper = fork();
    if (flipper == 0) flip(path);
    int ran = 0, killed = 0, failed = 0, strange = 0;
    for (int i = atoi(argv[2]); i > 0; i--) {
        pid_t p = fork();
        if (p == 0) {
            dup2(out[1], 1);
            dup2(out[1], 2);
            char *args[] = {"sh", "-c", "true", NULL};
            execve(path, args, NULL);
            _exit(100 + errno);
        }
        int status;
        waitpid(p, &status, 0);
        if (WIFSIGNALED(status)) killed++;
        else if (WEXITSTATUS(status) == 0) ran++;
        else if (WEXITSTATUS(status) > 100) failed++;
        else strange++;
    }
    kill(flipper, SIGKILL);
    close(out[1]);
    char said[300];
    ssize_t n = read(out[0], said, sizeof said);
    ok(strange == 0 && n == 0, "no script was run (%d) or seen: %.*s", strange, (int)(n > 0 ? n : 0), said);
    ok(ran > 0, "the program itself is run");
    note("ran %d, killed %d, failed %d", ran, killed, failed);
    return finish();
}
