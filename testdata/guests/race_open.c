/* race_open: the argument that was checked is the argument that was used.
 *
 *   race_open MODE COUNT ALLOWED FORBIDDEN
 *
 * A thread (mode "proc": a sibling process through shared memory) rewrites the path between ALLOWED and FORBIDDEN
 * while COUNT calls use it. A check followed by a second read of the path lets some calls reach FORBIDDEN.
 *   open proc stat   ALLOWED and FORBIDDEN are files; the forbidden one starts with 'F' and is 4242 bytes long
 *   rename           paths to rename a scratch file to
 *   exec             programs; the forbidden one exits with 66, the allowed one with 7
 *   connect          stream sockets; this program listens on ALLOWED and answers 'A', someone else on FORBIDDEN, 'F'
 * Prints the counts; exit status 1 if one call reached FORBIDDEN. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

static char *path;                        /* what the calls use, and the other party rewrites */
static size_t room = PATH_MAX;
static const char *choice[2];
static volatile int *stop;
static long allowed, forbidden, absent, other;

static void flip(void) {
    /* whole copies, with the terminating NUL: a torn read is one of the two, or a mixture that does not exist */
    size_t len[2] = {strlen(choice[0]) + 1, strlen(choice[1]) + 1};
    unsigned spin = 1;
    for (int i = 0; !*stop; i ^= 1) {
        memcpy(path, choice[i], len[i]);
        spin = spin * 1103515245 + 12345;
        for (volatile unsigned k = spin >> 16 & 0x3ff; k; k--) {}
    }
}
static void *flipper(void *arg) { (void)arg; flip(); return NULL; }

static void missed(void) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == EACCES || errno == EROFS) absent++;
    else { other++; note("unexpected %s", errname(errno)); }
}

static void one_open(void) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) { missed(); return; }
    char c = 0;
    if (read(fd, &c, 1) == 1 && c == 'F') forbidden++;
    else allowed++;
    close(fd);
}

static void one_stat(void) {
    struct stat st;
    if (stat(path, &st) < 0) missed();
    else if (st.st_size == 4242) forbidden++;
    else allowed++;
}

static void one_rename(void) {
    put("scratch", "", 0600);
    if (rename("scratch", path) < 0) { missed(); return; }
    if (unlink(choice[0]) == 0) allowed++;
    else forbidden++;
}

static void one_exec(void) {
    char *argv[] = {"x", NULL}, *envp[] = {NULL};
    pid_t p = vfork();                    /* shares memory: the flipper goes on while the child calls execve */
    if (p == 0) {
        execve(path, argv, envp);
        _exit(errno == ENOENT || errno == EACCES ? 127 : 126);
    }
    int st = -1;
    waitpid(p, &st, 0);
    if (WIFEXITED(st) && WEXITSTATUS(st) == 66) forbidden++;
    else if (WIFEXITED(st) && WEXITSTATUS(st) == 7) allowed++;
    else if (WIFEXITED(st) && WEXITSTATUS(st) == 127) absent++;
    /* killed at the exec stop because another program than the approved one was loaded: safe, if rude */
    else if (WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL) absent++;
    else other++;
}

static int listener = -1;
static void *answer(void *arg) {
    (void)arg;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) return NULL;
        if (write(fd, "A", 1) < 0) {}
        close(fd);
    }
}

static struct sockaddr_un *addr;
static void one_connect(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char c = 0;
    if (connect(fd, (struct sockaddr *)addr, sizeof *addr) < 0) missed();
    else if (read(fd, &c, 1) == 1 && c == 'F') forbidden++;
    else allowed++;
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 5) { fprintf(stderr, "usage: race_open MODE COUNT ALLOWED FORBIDDEN\n"); return 2; }
    const char *mode = argv[1];
    int n = atoi(argv[2]);
    choice[0] = argv[3];
    choice[1] = argv[4];
    signal(SIGPIPE, SIG_IGN);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    path = shared;
    stop = (volatile int *)(shared + 4096);

    void (*one)(void) = NULL;
    pthread_t t;
    if (!strcmp(mode, "open") || !strcmp(mode, "proc")) one = one_open;
    if (!strcmp(mode, "stat")) one = one_stat;
    if (!strcmp(mode, "rename")) one = one_rename;
    if (!strcmp(mode, "exec")) one = one_exec;
    if (!strcmp(mode, "connect")) {
        one = one_connect;
        addr = (struct sockaddr_un *)(shared + 64);
        addr->sun_family = AF_UNIX;
        path = addr->sun_path;
        room = sizeof addr->sun_path;
        struct sockaddr_un own = {.sun_family = AF_UNIX};
        strncpy(own.sun_path, choice[0], sizeof own.sun_path - 1);
        listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 || listen(listener, 64) < 0) {
            perror("listen");
            return 2;
        }
        pthread_create(&t, NULL, answer, NULL);
    }
    if (!one || strlen(choice[0]) >= room || strlen(choice[1]) >= room) {
        fprintf(stderr, "race_open: bad mode or path too long\n");
        return 2;
    }
    strcpy(path, choice[0]);

    pid_t sibling = 0;
    if (!strcmp(mode, "proc")) {
        if ((sibling = fork_clean()) == 0) { flip(); _exit(0); }
    } else {
        pthread_create(&t, NULL, flipper, NULL);
    }
    for (int i = 0; i < n; i++) one();
    *stop = 1;
    if (sibling) waitpid(sibling, NULL, 0);
    printf("calls %d allowed %ld forbidden %ld absent %ld other %ld\n", n, allowed, forbidden, absent, other);
    fflush(stdout);
    return forbidden != 0;
}
