/* attack_connect: clears O_NONBLOCK between the supervisor's look at a socket and its connect(2). Ends by itself.
 *
 *   attack_connect SOCKET ROUNDS    listens at SOCKET, which is full after a few connections; eight seconds at most */
#include "check.h"
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static volatile int target = -1;

static void interrupted(int sig) { (void)sig; }

static void spin(int most) {
    for (volatile int i = rand() % most; i > 0; i--) {}
}

static void *flip(void *arg) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        int fd = target;
        if (fd < 0) continue;
        fcntl(fd, F_SETFL, O_NONBLOCK);
        spin(800);
        fcntl(fd, F_SETFL, 0);
        spin(100);
    }
    return arg;
}

/* Another process, which must be served all the time. */
static void others(void) {
    for (;;) {
        struct stat st;
        stat("/tmp", &st);
        sleep_ms(100);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, argv[1], sizeof a.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!ok(!bind(listener, (void *)&a, sizeof a) && !listen(listener, 0), "listen")) return finish();
    for (int i = 0; i < 3; i++) connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&a, sizeof a);
    pid_t other = fork();
    if (other == 0) others();
    /* What sleeps in connect(2) itself is interrupted. */
    struct sigaction action = {.sa_handler = interrupted};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, flip, NULL);
    int done = 0, full = 0, slept = 0, rounds = atoi(argv[2]);
    for (long end = now_us() + 8000000; done < rounds && now_us() < end; done++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        target = fd;
        if (connect(fd, (void *)&a, sizeof a) < 0) {
            full += errno == EAGAIN;
            slept += errno == EINTR;
        }
        target = -1;
        close(fd);
    }
    ok(done > 0 && full + slept == done, "no connection was made");
    note("%d found it full, %d slept", full, slept);
    kill(other, SIGKILL);
    return finish();
}
