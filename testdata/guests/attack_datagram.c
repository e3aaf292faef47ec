/* attack_datagram: tries to send a datagram to a socket of the host that the view doesn't show.
 *
 *   attack_datagram HOST ABSTRACT ROUNDS   HOST is the socket's path, ABSTRACT another's abstract name
 *   attack_datagram HOST ABSTRACT 0        sends one message to each: what is attacked can be reached natively
 *
 * Whoever owns the two sockets looks at what has arrived. */
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un host, inside, absent_name;
static socklen_t abstract_len;
static int rounds;

static struct sockaddr_un path(const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, name, sizeof a.sun_path - 1);
    return a;
}

/* Everything that another thread or process rewrites. */
static struct shared {
    struct sockaddr_un name;
    struct mmsghdr m[2];
    struct iovec io;
    volatile int stop, fd;
} *s;

static void fill(void) {
    s->io = (struct iovec){"evil", 4};
    for (int i = 0; i < 2; i++) s->m[i].msg_hdr = (struct msghdr){.msg_name = &s->name, .msg_namelen = sizeof s->name, .msg_iov = &s->io, .msg_iovlen = 1};
}

/* Rewrites the address, and the pointer to it. */
static void *rewrite(void *p) {
    (void)p;
    while (!s->stop) {
        s->name = host;
        s->m[0].msg_hdr.msg_name = &host, s->m[0].msg_hdr.msg_namelen = sizeof host;
        s->m[1].msg_hdr.msg_namelen = sizeof host;
        s->name = inside;
        s->m[0].msg_hdr.msg_name = &s->name;
        s->m[1].msg_hdr.msg_namelen = 0;
    }
    return NULL;
}

/* What the calls of the kernel would send, whatever is in memory now. */
static void send_all(int fd) {
    sendto(fd, "evil", 4, MSG_DONTWAIT, (void *)&s->name, sizeof s->name);
    sendmsg(fd, &s->m[0].msg_hdr, MSG_DONTWAIT);
    sendmmsg(fd, s->m, 2, MSG_DONTWAIT);
    syscall(0x0fff6001, fd, &s->m[0].msg_hdr, MSG_DONTWAIT);
    syscall(SYS_sendmsg | 0x40000000, fd, &s->m[0].msg_hdr, MSG_DONTWAIT);
}

/* Names the host's sockets outright, by every call. */
static void send_plainly(int fd) {
    struct iovec io = {"evil", 4};
    struct mmsghdr m = {.msg_hdr = {.msg_name = &host, .msg_namelen = sizeof host, .msg_iov = &io, .msg_iovlen = 1}};
    int flags[] = {0, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE, MSG_CONFIRM, MSG_EOR, MSG_DONTROUTE};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        m.msg_hdr.msg_name = &host, m.msg_hdr.msg_namelen = sizeof host;
        sendto(fd, "evil", 4, flags[i] | MSG_DONTWAIT, (void *)&host, sizeof host);
        sendmsg(fd, &m.msg_hdr, flags[i] | MSG_DONTWAIT);
        sendmmsg(fd, &m, 1, flags[i] | MSG_DONTWAIT);
        m.msg_hdr.msg_name = &absent_name, m.msg_hdr.msg_namelen = abstract_len;
        sendto(fd, "evil", 4, flags[i] | MSG_DONTWAIT, (void *)&absent_name, abstract_len);
        sendmsg(fd, &m.msg_hdr, flags[i] | MSG_DONTWAIT);
    }
    if (connect(fd, (void *)&host, sizeof host) == 0) send(fd, "evil", 4, MSG_DONTWAIT);
    if (connect(fd, (void *)&absent_name, abstract_len) == 0) send(fd, "evil", 4, MSG_DONTWAIT);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    connect(fd, &none, sizeof none);
    connect(fd, (void *)&inside, sizeof inside);
    sendmsg(fd, &m.msg_hdr, MSG_DONTWAIT);
    sendto(fd, "evil", 4, MSG_DONTWAIT, (void *)&host, sizeof host);
    connect(fd, &none, sizeof none);
}

static int receiver(void) {
    int at = socket(AF_UNIX, SOCK_DGRAM, 0);
    unlink(inside.sun_path);
    ok(at >= 0 && bind(at, (void *)&inside, sizeof inside) == 0, "a receiver inside");
    return at;
}

static void empty(int at) { char b[8]; while (recv(at, b, sizeof b, MSG_DONTWAIT) >= 0) {} }

static void race_memory(int by_process) {
    int at = receiver(), fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    pthread_t t;
    pid_t p = 0;
    s->stop = 0, fill();
    if (!by_process) pthread_create(&t, NULL, rewrite, NULL);
    else if (!(p = fork_clean())) { rewrite(NULL); _exit(0); }
    for (int i = 0; i < rounds; i++) send_all(fd), empty(at);
    s->stop = 1;
    if (by_process) reap(p, 5000); else pthread_join(t, NULL);
    close(fd), close(at);
}

static void *swap(void *p) {
    int *kinds = p;
    while (!s->stop) { dup2(kinds[0], s->fd); dup2(kinds[1], s->fd); }
    return NULL;
}

/* The number means a stream one moment and a datagram socket the next. */
static void race_descriptor(void) {
    int kinds[2] = {socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_DGRAM, 0)};
    pthread_t t;
    s->stop = 0, s->fd = dup(kinds[0]), fill();
    s->name = host;
    pthread_create(&t, NULL, swap, kinds);
    for (int i = 0; i < rounds; i++) send_all(s->fd);
    s->stop = 1;
    pthread_join(t, NULL);
}

static void *spin(void *p) {
    (void)p;
    struct iovec io = {"evil", 4};
    struct msghdr m = {.msg_name = &host, .msg_namelen = sizeof host, .msg_iov = &io, .msg_iovlen = 1};
    /* the next numbers to be given out */
    while (!s->stop) for (int fd = 3; fd < 12; fd++) sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    return NULL;
}

/* Threads that are already sending when the first such socket comes to be. */
static void race_birth(void) {
    for (int i = 0; i < rounds / 20 + 2; i++) {
        pid_t p = fork_clean();
        if (!p) {
            pthread_t t[3];
            s->stop = 0;
            for (int j = 0; j < 3; j++) pthread_create(&t[j], NULL, spin, NULL);
            if (i & 1) usleep(500);
            for (int j = 0; j < 3; j++) socket(AF_UNIX, SOCK_DGRAM, 0);
            int sv[2];
            socketpair(AF_UNIX, SOCK_DGRAM, 0, sv);
            usleep(2000);
            s->stop = 1;
            _exit(0);
        }
        reap(p, 5000);
    }
}

/* A process with the same descriptors, made before there was a guard: with its own memory, and with ours. */
static int with_our_files(void *p) {
    (void)p;
    for (int i = 0; i < 400; i++) { for (int fd = 3; fd < 12; fd++) send_plainly(fd); usleep(500); if (s->stop) break; }
    return 0;
}

static void shared_files(int memory) {
    pid_t p = fork_clean();
    if (!p) {
        static char stack[1 << 16];
        s->stop = 0;
        int flags = CLONE_FILES | SIGCHLD | (memory ? CLONE_VM : 0);
        pid_t q = clone(with_our_files, stack + sizeof stack, flags, NULL);
        ok(q > 0, "a process that shares descriptors");
        usleep(2000);
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        fact("a datagram socket", fd < 0 ? -1 : 0);
        usleep(20000);
        s->stop = 1;
        reap(q, 5000);
        fflush(stdout);
        _exit(0);
    }
    reap(p, 10000);
}

/* A process without the guard is sent such a socket. */
static void passed_on(int type) {
    int sv[2];
    socketpair(AF_UNIX, type, 0, sv);
    pid_t p = fork_clean();
    if (!p) {
        char b[8], ctl[64];
        struct iovec io = {b, 8};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
        close(sv[0]);
        recvmsg(sv[1], &m, 0);
        for (int fd = 3; fd < 12; fd++) send_plainly(fd);
        _exit(0);
    }
    close(sv[1]);
    pid_t q = fork_clean();
    if (!q) {
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        struct { struct cmsghdr h; int fd; } c = {{CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}, fd};
        struct iovec io = {"x", 1};
        struct mmsghdr m = {.msg_hdr = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c}};
        ok(fails(sendmsg(sv[0], &m.msg_hdr, 0), EPERM), "sendmsg passes no datagram socket");
        ok(fails(sendmmsg(sv[0], &m, 1, 0), EPERM), "nor does sendmmsg");
        fflush(stdout);
        _exit(0);
    }
    reap(q, 5000);
    close(sv[0]);
    reap(p, 5000);
}

static void own_filter(unsigned nr, unsigned action) {
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {4, f};
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* Filters of its own, which answer for the kernel while the guard is put on, or speak the guard's own word. */
static void forged(void) {
    struct { unsigned nr, action; } tries[] = {
        {SYS_seccomp, SECCOMP_RET_ERRNO}, {SYS_mmap, SECCOMP_RET_ERRNO}, {SYS_munmap, SECCOMP_RET_ERRNO},
        {SYS_sendmsg, SECCOMP_RET_TRACE | 0x5b0d}, {SYS_sendmsg, SECCOMP_RET_TRACE | 0x5b0c}, {SYS_sendmsg, SECCOMP_RET_TRACE},
        {SYS_socket, SECCOMP_RET_TRACE | 0x5b0d}, {SYS_sendto, SECCOMP_RET_TRACE | 0x5b0d}, {SYS_sendmsg, SECCOMP_RET_LOG},
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) for (int late = 0; late < 2; late++) {
        pid_t p = fork_clean();
        if (!p) {
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if (!late) own_filter(tries[i].nr, tries[i].action);
            int fd = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM, 0);
            if (late) own_filter(tries[i].nr, tries[i].action);
            for (fd = 3; fd < 8; fd++) send_plainly(fd);
            _exit(0);
        }
        reap(p, 5000);
    }
}

/* A child made by vfork makes the socket, in memory that the parent's other threads write to. */
static void *scribble(void *p) {
    char line[256];
    (void)p;
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    while (!s->stop) {
        FILE *f = fopen("/proc/self/maps", "r");
        while (f && fgets(line, sizeof line, f)) {
            unsigned long from, to;
            char mode[8];
            /* one page, alone, to be written: the place of a filter that is being installed */
            if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && to - from == 4096 && mode[0] == 'r' && mode[1] == 'w' && from >> 44 == 1)
                for (int i = 2; i < 40; i++) ((volatile struct sock_filter *)from)[i] = allow;
        }
        if (f) fclose(f);
    }
    return NULL;
}

static void scribbled(int by_vfork) {
    for (int i = 0; i < rounds / 20 + 2; i++) {
        pid_t p = fork_clean();
        if (!p) {
            pthread_t t[2];
            s->stop = 0;
            signal(SIGSEGV, SIG_DFL);
            for (int j = 0; j < 2; j++) pthread_create(&t[j], NULL, scribble, NULL);
            usleep(1000);
            if (by_vfork) {
                pid_t q = vfork();
                if (!q) {
                    int fd = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM, 0);
                    send_plainly(fd);
                    _exit(0);
                }
            } else {
                int fd = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM, 0);
                send_plainly(fd);
            }
            s->stop = 1;
            _exit(0);
        }
        reap(p, 5000);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    signal(SIGPIPE, SIG_IGN);
    host = path(argv[1]);
    inside = path("/tmp/inside");
    absent_name.sun_family = AF_UNIX;
    strncpy(absent_name.sun_path + 1, argv[2], 100);
    abstract_len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[2]);
    rounds = atoi(argv[3]);
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!rounds) { send_plainly(socket(AF_UNIX, SOCK_DGRAM, 0)); return 0; }
    passed_on(SOCK_STREAM), passed_on(SOCK_SEQPACKET);
    shared_files(0), shared_files(1);
    race_birth();
    scribbled(0), scribbled(1);
    forged();
    send_plainly(socket(AF_UNIX, SOCK_DGRAM, 0));
    send_plainly(socket(AF_UNIX, SOCK_RAW, 0));
    race_memory(0), race_memory(1);
    race_descriptor();
    return finish();
}
