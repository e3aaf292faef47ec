/* argued: starts a program, itself, while another thread rewrites its argument.
 * "argued target TEXT" is that program: it says by its status which text it was given, 0 for "a" and 42 for any other.
 * "argued race PROGRAM N" starts it N times and prints how often it ran with what, was refused, and was killed. */
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static char text[] = "a";
static volatile int going = 1;

static void *flip(void *unused) {
    (void)unused;
    while (going) {
        *(volatile char *)text = 'b';
        *(volatile char *)text = 'a';
    }
    return NULL;
}

static int start(const char *program) {
    pthread_t other;
    if (pthread_create(&other, NULL, flip, NULL)) return 3;
    char *argv[] = {(char *)program, "target", text, NULL};
    char *envp[] = {NULL};
    /* So that the other one runs already. */
    usleep(100);
    execve(program, argv, envp);
    return errno == EACCES ? 2 : 3;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "target")) return strcmp(argv[2], "a") ? 42 : 0;
    if (argc != 4) return 9;
    int ran = 0, others = 0, refused = 0, killed = 0, odd = 0;
    for (int i = 0; i < atoi(argv[3]); i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(start(argv[2]));
        int status = 0;
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) killed++;
        else if (!WIFEXITED(status)) odd++;
        else if (WEXITSTATUS(status) == 0) ran++;
        else if (WEXITSTATUS(status) == 42) others++;
        else if (WEXITSTATUS(status) == 2) refused++;
        else odd++;
    }
    printf("ran %d others %d refused %d killed %d odd %d\n", ran, others, refused, killed, odd);
    return 0;
}
