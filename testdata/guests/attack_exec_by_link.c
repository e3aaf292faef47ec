/* attack_exec_by_link: an approved program is named by a link that leads to a script by the time the kernel follows it.
 *
 *   attack_exec_by_link DIR EVIL ROUNDS    DIR is writable; EVIL, were the kernel to follow it, is a script that begins
 *                                          with "#!/bin/sh -secretarg": nothing of that may be seen in the output
 *
 * EVIL may be a hidden script, whose first line would be told; or a script of the guest's own by way of a hidden
 * directory, which would tell that there is such a directory. */
#include "check.h"

static char link_path[PATH_MAX], other_path[PATH_MAX];

static void exchange(void) {
    for (;;) renameat2(AT_FDCWD, link_path, AT_FDCWD, other_path, RENAME_EXCHANGE);
}

/* The wait status of an exec of the link, all of whose output goes to out. */
static int run_link(int out) {
    pid_t p = fork_clean();
    if (p == 0) {
        dup2(out, 1);
        dup2(out, 2);
        char *args[] = {"sh", "-c", "true", NULL}, *env[] = {NULL};
        execve(link_path, args, env);
        _exit(100 + errno);
    }
    int status;
    waitpid(p, &status, 0);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    snprintf(link_path, sizeof link_path, "%s/link", argv[1]);
    snprintf(other_path, sizeof other_path, "%s/other", argv[1]);
    symlink("/bin/sh", link_path);
    symlink(argv[2], other_path);
    int out[2];
    pipe(out);
    ok(run_link(out[1]) == 0, "the program itself is run");
    pid_t exchanger = fork_clean();
    if (exchanger == 0) exchange();
    int ran = 0, killed = 0, failed = 0, strange = 0;
    for (int i = atoi(argv[3]); i > 0 && !strange; i--) {
        int status = run_link(out[1]);
        if (WIFSIGNALED(status)) killed++;
        else if (WEXITSTATUS(status) == 0) ran++;
        else if (WEXITSTATUS(status) > 100) failed++;
        else strange++;
    }
    kill(exchanger, SIGKILL);
    waitpid(exchanger, NULL, 0);
    close(out[1]);
    char said[300];
    ssize_t n = read(out[0], said, sizeof said);
    ok(strange == 0 && n == 0, "no script was run (%d) or seen: %.*s", strange, (int)(n > 0 ? n : 0), said);
    note("ran %d, killed %d, failed %d", ran, killed, failed);
    return finish();
}
