/* echoargs: prints what a new program finds: arguments, environment, its own name, open descriptors.
 * The target of exec_forms; built once dynamic and once static. With GUEST_NAME set, also the name of the thread.
 * With the argument "reexec" it starts /proc/self/exe. */
#include "check.h"
#include <dirent.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

extern char **environ;

static const char *base(const char *s) {
    const char *slash = strrchr(s, '/');
    return slash ? slash + 1 : s;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "reexec")) {
        char *again[] = {argv[0], "again", NULL};
        execve("/proc/self/exe", again, environ);
        printf("re-exec: %s\n", errname(errno));
        return 1;
    }
    printf("argc %d:", argc);
    for (int i = 0; i < argc && i < 12; i++) printf(" [%.60s]", base(argv[i]));
    for (char **e = environ; *e; e++)
        if (!strncmp(*e, "GUEST_", 6)) printf(" {%.40s}", *e);
    char exe[PATH_MAX + 1];
    ssize_t n = readlink("/proc/self/exe", exe, PATH_MAX);
    exe[n > 0 ? n : 0] = 0;
    printf(" exe=%s", base(exe));
    char comm[32] = "?";
    if (getenv("GUEST_NAME") && prctl(PR_GET_NAME, comm) == 0) printf(" comm=%s", comm);
    int open_fds = 0;
    for (int fd = 3; fd < 1024; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
    printf(" fds=%d", open_fds);
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf(" usr2blocked=%d", sigismember(&set, SIGUSR2));
    printf(" secure=%lu\n", getauxval(AT_SECURE));
    return 0;
}
