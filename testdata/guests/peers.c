/* peers: who is at the other end of a unix socket, unix(7).
 *
 *   peers inside   the same natively and in sbox; numbers are compared with those that fork(2) and getpid(2) tell
 *   peers outside  standard input was passed in; at "theirs" listens, and to "ours" connects, somebody outside (sbox only) */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PEERPIDFD 77 /* SO_PEERPIDFD, Linux 6.5 */

static _Thread_local struct sockaddr_un addr;

/* Sets addr to a path, or with a leading '@' to an abstract name. Its length. */
static socklen_t to(const char *name) {
    memset(&addr, 0, sizeof addr);
    addr.sun_family = AF_UNIX;
    strcpy(addr.sun_path, name);
    if (*name == '@') addr.sun_path[0] = 0;
    return offsetof(struct sockaddr_un, sun_path) + strlen(name) + (*name != '@');
}

static int must(int r, const char *what) {
    if (r < 0) { printf("%s: %s\n", what, errname(errno)); exit(2); }
    return r;
}

static int server(const char *name, int type) {
    int fd = must(socket(AF_UNIX, type, 0), "socket");
    socklen_t n = to(name);
    if (*name != '@') unlink(name);
    must(bind(fd, (struct sockaddr *)&addr, n), "bind");
    must(listen(fd, 64), "listen");
    return fd;
}

/* A socket that is connected to `name`, bound to `own` if that is given. */
static int client(const char *name, int type, const char *own) {
    int fd = must(socket(AF_UNIX, type, 0), "socket");
    if (own) { if (*own != '@') unlink(own); socklen_t n = to(own); must(bind(fd, (struct sockaddr *)&addr, n), "bind client"); }
    socklen_t n = to(name);
    must(connect(fd, (struct sockaddr *)&addr, n), "connect");
    return fd;
}

static pid_t peer(int fd) {
    struct ucred c = {-2, -2, -2};
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0) return -errno;
    if (n != sizeof c || c.uid != getuid() || c.gid != getgid()) printf("uid %d gid %d, length %d\n", c.uid, c.gid, n);
    return c.pid;
}

/* What proc_pid_fdinfo(5) has for a pidfd, and whether it is close-on-exec. 0 if it isn't there. */
static pid_t pid_of(int pidfd) {
    char path[64], line[128];
    pid_t pid = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "Pid:%d", &pid);
    if (f) fclose(f);
    return pid;
}

static int has_pidfds(void) {
    int sv[2], p = -1;
    socklen_t n = sizeof p;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair");
    int has = getsockopt(sv[0], SOL_SOCKET, PEERPIDFD, &p, &n) == 0 || errno != ENOPROTOOPT;
    close(sv[0]), close(sv[1]);
    if (p >= 0) close(p);
    return has;
}

/* True if the peer's pidfd stands for this process: it ends by the signal that is sent by it. */
static int pidfd_is(int fd, pid_t pid) {
    int p = -1;
    socklen_t n = sizeof p;
    if (getsockopt(fd, SOL_SOCKET, PEERPIDFD, &p, &n) < 0) {
        if (has_pidfds()) return 0;
        if (pid != getpid()) kill(pid, SIGKILL), waitpid(pid, NULL, 0);
        return 1;
    }
    int st, is = n == 4 && fcntl(p, F_GETFD) == FD_CLOEXEC;
    if (pid == getpid()) is = is && pidfd_send_signal(p, 0, NULL, 0) == 0;
    else is = is && pidfd_send_signal(p, SIGUSR1, NULL, 0) == 0 && waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGUSR1;
    close(p);
    return is;
}

static void byte_to(int fd) { must(write(fd, "x", 1), "write"); }
static void byte_from(int fd) { char c; must(read(fd, &c, 1), "read"); }

/* A child that connects, does what `how` says, and lives until it is killed. */
enum how { STAYS, EXITS, CLOSES, FORKS, HANDS_ON, EXECS };

static pid_t connects(const char *name, int type, const char *own, enum how how) {
    int ready[2];
    must(pipe(ready), "pipe");
    pid_t p = fork_clean();
    if (p == 0) {
        close(ready[0]);
        int fd = client(name, type, own);
        if (how == CLOSES) close(fd);
        /* The connection is then held by a child alone, which ends with the pipe. */
        if (how == FORKS || how == HANDS_ON) {
            int hold[2];
            must(pipe(hold), "pipe");
            if (fork_clean() == 0) { close(hold[1]); char c; byte_to(ready[1]); close(ready[1]); if (read(hold[0], &c, 1) == 0) _exit(0); }
            if (how == HANDS_ON) close(fd);
            for (;;) pause();
        }
        byte_to(ready[1]);
        if (how == EXITS) _exit(0);
        if (how == EXECS) { execl("/bin/sleep", "sleep", "1000", NULL); _exit(9); }
        for (;;) pause();
    }
    close(ready[1]);
    byte_from(ready[0]);
    if (how == EXITS) waitpid(p, NULL, 0);
    close(ready[0]);
    return p;
}

static void ends(pid_t p) { kill(p, SIGKILL); waitpid(p, NULL, 0); }

static void by_every_name_and_type(void) {
    static const struct { int type; const char *what; } types[] = {{SOCK_STREAM, "stream"}, {SOCK_SEQPACKET, "seqpacket"}};
    static const char *const names[] = {"path", "@abstract"}, *const own[] = {NULL, "client", "@client"};
    static const char *const hows[] = {"stays", "exits", "closes", "forks", "hands on", "execs"};
    for (int t = 0; t < 2; t++) for (int n = 0; n < 2; n++) for (int o = 0; o < 3; o++) for (int h = STAYS; h <= EXECS; h++) {
        /* Each time others: children of before may still hold theirs, and natively abstract names are everybody's. */
        static int times;
        char name[50], mine[50];
        snprintf(name, sizeof name, "%s-%d-%d", names[n], getpid(), times);
        snprintf(mine, sizeof mine, "%s-%d-%d", own[o] ? own[o] : "", getpid(), times++);
        int l = server(name, types[t].type);
        pid_t p = connects(name, types[t].type, own[o] ? mine : NULL, h);
        int s = must(accept(l, NULL, NULL), "accept");
        ok(peer(s) == p, "%s, %s, client %s that %s: %s", types[t].what, names[n], own[o] ? own[o] : "without a name", hows[h],
           peer(s) == p ? "it" : peer(s) == 0 ? "nobody" : "another");
        if (h != EXITS) {
            if (!ok(pidfd_is(s, p), "and its pidfd")) ends(p);
            ok(peer(s) == p, "the number stays");
        }
        close(s), close(l);
    }
}

/* Both ends, the one that has listened, and what has no peer. */
static void the_others(void) {
    int l = server("path", SOCK_STREAM), sv[2];
    ok(peer(l) == getpid(), "a listener's own");
    int c = client("path", SOCK_STREAM, NULL);
    int s = accept(l, NULL, NULL);
    ok(peer(c) == getpid() && peer(s) == getpid(), "within one process");
    ok(pidfd_is(c, getpid()) && pidfd_is(s, getpid()), "within one process, pidfd");
    close(c), close(s), close(l);
    /* Who has listened is meant, though another accepts, and though it is gone. */
    int back[2];
    must(pipe(back), "pipe");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair");
    pid_t p = fork_clean();
    if (p == 0) {
        l = server("path", SOCK_STREAM);
        if (fork_clean() == 0) { byte_to(back[1]); close(sv[0]); s = accept(l, NULL, NULL); char x; if (read(sv[1], &x, 1) == 0) _exit(0); }
        _exit(0);
    }
    close(sv[1]);
    waitpid(p, NULL, 0);
    byte_from(back[0]);
    c = client("path", SOCK_STREAM, NULL);
    ok(peer(c) == p, "who has listened, and is gone");
    close(c), close(sv[0]);
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    for (int t = 0; t < 3; t++) {
        must(socketpair(AF_UNIX, types[t], 0, sv), "socketpair");
        ok(peer(sv[0]) == getpid() && peer(sv[1]) == getpid(), "socketpair %d", t);
        ok(pidfd_is(sv[0], getpid()), "socketpair %d, pidfd", t);
        close(sv[0]), close(sv[1]);
        struct ucred u = {7, 7, 7};
        socklen_t n = sizeof u;
        int fd = socket(AF_UNIX, types[t], 0);
        fact("getsockopt of a socket alone", getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &n));
        printf("%d %d %d\n", u.pid, (int)u.uid, (int)u.gid);
        n = 4;
        fact("its pidfd", getsockopt(fd, SOL_SOCKET, PEERPIDFD, &u, &n));
        close(fd);
    }
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    socklen_t n = to("datagrams");
    must(bind(a, (struct sockaddr *)&addr, n), "bind");
    must(connect(b, (struct sockaddr *)&addr, n), "connect");
    printf("datagram socket that is connected: %d\n", peer(b) < 0 ? peer(b) : peer(b) > 0);
    close(a), close(b);
}

/* The names that guests see are those that they have given. */
static void names(void) {
    int l = server("path", SOCK_STREAM), c = client("path", SOCK_STREAM, NULL);
    struct sockaddr_un a;
    socklen_t n = sizeof a;
    memset(&a, 'z', sizeof a);
    int s = accept(l, (struct sockaddr *)&a, &n);
    printf("accept: length %d\n", (int)n);
    n = sizeof a, fact("getsockname", getsockname(c, (struct sockaddr *)&a, &n)), printf("length %d\n", (int)n);
    n = sizeof a, fact("getpeername", getpeername(s, (struct sockaddr *)&a, &n)), printf("length %d\n", (int)n);
    static const int rooms[] = {128, 110, 60};
    for (int i = 0; i < 3; i++) {
        char buf[4];
        n = rooms[i];
        byte_to(c), fact("recvfrom", recvfrom(s, buf, sizeof buf, 0, (struct sockaddr *)&a, &n)), printf("length %d\n", (int)n);
        n = rooms[i];
        byte_to(s), fact("recvfrom", recvfrom(c, buf, sizeof buf, 0, (struct sockaddr *)&a, &n)), printf("length %d, \"%.4s\"\n", (int)n, a.sun_path);
    }
    close(c), close(s);
    /* A socket that could not connect has got no name by that. */
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    n = to("absent"), fact("connect to nothing", connect(c, (struct sockaddr *)&addr, n));
    close(l);
    n = to("path"), fact("connect to who is gone", connect(c, (struct sockaddr *)&addr, n));
    n = to("@nobody"), fact("connect to an abstract nothing", connect(c, (struct sockaddr *)&addr, n));
    n = to("mine"), fact("bind after that", bind(c, (struct sockaddr *)&addr, n));
    close(c);
}

static void pointers(void) {
    int sv[2], file = open("/etc/passwd", O_RDONLY), path_only = open("/", O_PATH), big;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "socketpair");
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    static const int options[] = {SO_PEERCRED, PEERPIDFD};
    for (int i = 0; i < 1 + has_pidfds(); i++) {
        int o = options[i];
        printf("option %d\n", o);
        struct ucred u;
        socklen_t n = sizeof u;
        fact("closed descriptor", getsockopt(999, SOL_SOCKET, o, &u, &n));
        fact("negative descriptor", getsockopt(-1, SOL_SOCKET, o, &u, &n));
        fact("a file", getsockopt(file, SOL_SOCKET, o, &u, &n));
        fact("O_PATH", getsockopt(path_only, SOL_SOCKET, o, &u, &n));
        fact("a file, and no length", getsockopt(file, SOL_SOCKET, o, &u, NULL));
        fact("no length", getsockopt(sv[0], SOL_SOCKET, o, &u, NULL));
        fact("length nowhere", getsockopt(sv[0], SOL_SOCKET, o, &u, (void *)8));
        fact("no value", getsockopt(sv[0], SOL_SOCKET, o, NULL, &n));
        fact("value nowhere", getsockopt(sv[0], SOL_SOCKET, o, (void *)8, &n));
        printf("length %d\n", (int)n);
        n = sizeof u, fact("value at the end of a page", getsockopt(sv[0], SOL_SOCKET, o, page + 4095, &n));
        n = -1, fact("negative length", getsockopt(sv[0], SOL_SOCKET, o, &u, &n));
        n = 0x80000000, fact("least length", getsockopt(sv[0], SOL_SOCKET, o, &u, &n));
        static const int lengths[] = {0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 100, INT_MAX};
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            unsigned char area[16], whole[16];
            struct ucred me = {getpid(), getuid(), getgid()};
            int next = dup(0); /* the number that a pidfd will have */
            close(next);
            memset(area, 'z', sizeof area), memset(whole, 'z', sizeof whole);
            if (i == 0) memcpy(whole, &me, sizeof me); else memcpy(whole, &next, sizeof next);
            n = lengths[j];
            fact("getsockopt", getsockopt(sv[0], SOL_SOCKET, o, area, &n));
            printf("room %d: length %d\n", lengths[j], (int)n);
            ok(n <= 16 && !memcmp(area, whole, n), "its bytes");
            int rest = 1;
            for (int k = n; k < 16; k++) rest &= area[k] == 'z';
            ok(rest, "and no more");
            if (i == 1) { ok(pid_of(next) == getpid() || pid_of(next) == 0, "a pidfd of this process"); fact("close", close(next)); }
        }
        /* Nothing is left where the number couldn't be told. */
        big = dup(0), close(big);
        n = 4, getsockopt(sv[0], SOL_SOCKET, o, (void *)8, &n);
        mprotect(page, 4096, PROT_READ);
        fact("read-only length", getsockopt(sv[0], SOL_SOCKET, o, &u, (void *)page));
        fact("read-only value", getsockopt(sv[0], SOL_SOCKET, o, page, &n));
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
        int now = dup(0);
        ok(now == big, "no descriptor is left behind");
        close(now);
        fact("upper halves set", syscall(SYS_getsockopt, sv[0] | 1L << 32, SOL_SOCKET | 1L << 33, o | 1L << 34, &u, &n));
        if (i == 1) close(big);
    }
    close(sv[0]), close(sv[1]), close(file), close(path_only);
}

/* Many at once: threads and processes connect while the server asks at once, before connect(2) has returned perhaps. */
enum { CLIENTS = 8, ROUNDS = 60 };

static void *connects_often(void *name) {
    for (int i = 0; i < ROUNDS; i++) {
        int fd = client(name, SOCK_STREAM, NULL);
        pid_t me = getpid();
        must(write(fd, &me, sizeof me), "write");
        close(fd);
    }
    return NULL;
}

static void many_at_once(const char *name) {
    int l = server(name, SOCK_STREAM);
    pid_t p[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        if ((p[i] = fork_clean()) == 0) {
            pthread_t t;
            pthread_create(&t, NULL, connects_often, (void *)name);
            connects_often((void *)name);
            pthread_join(t, NULL);
            _exit(0);
        }
    }
    int right = 0, nobody = 0;
    for (int i = 0; i < CLIENTS * ROUNDS * 2; i++) {
        int s = must(accept(l, NULL, NULL), "accept");
        pid_t is = peer(s), says = 0;
        must(read(s, &says, sizeof says), "read");
        right += is == says;
        nobody += is == 0;
        close(s);
    }
    for (int i = 0; i < CLIENTS; i++) waitpid(p[i], NULL, 0);
    printf("%s: %d of %d, nobody %d times\n", *name == '@' ? "abstract" : name, right, CLIENTS * ROUNDS * 2, nobody);
    close(l);
}

/* One that may wait in connect(2) for room in the queue is still without a name, and nobody else's. */
static void *waits(void *fd) {
    socklen_t n = to("full");
    long r = connect(*(int *)fd, (struct sockaddr *)&addr, n);
    return (void *)(long)(r < 0 ? errno : 0);
}

static void waiting(void) {
    int l = must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), fds[3];
    socklen_t n = to("full");
    must(bind(l, (struct sockaddr *)&addr, n), "bind");
    must(listen(l, 0), "listen");
    int first = client("full", SOCK_STREAM, NULL);
    pthread_t t;
    fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    pthread_create(&t, NULL, waits, &fds[0]);
    int s = must(accept(l, NULL, NULL), "accept");
    ok(peer(s) == getpid(), "while another may wait");
    void *r;
    pthread_join(t, &r);
    fact("it has connected", (long)r);
    int s2 = must(accept(l, NULL, NULL), "accept");
    ok(peer(s2) == getpid(), "one that may have waited");
    close(s), close(s2), close(first), close(fds[0]), close(l);
}

/* Processes outside don't exist: they have no number, and no pidfd. */
static void nobody(const char *what, int fd) {
    int p = -1;
    socklen_t n = sizeof p;
    ok(peer(fd) == 0, "%s is nobody", what);
    ok(getsockopt(fd, SOL_SOCKET, PEERPIDFD, &p, &n) < 0 && (errno == ESRCH || !has_pidfds()), "%s has no pidfd", what);
    ok(p == -1, "%s: nothing is written", what);
}

static void outside(void) {
    nobody("who passed it in", 0);
    int l = server("ours", SOCK_STREAM), c = client("theirs", SOCK_STREAM, NULL);
    nobody("who listens outside", c);
    byte_to(c);
    int s = must(accept(l, NULL, NULL), "accept");
    nobody("who connects from outside", s);
    byte_from(c);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "inside")) {
        names(); /* first, before there is a datagram socket: those are guarded */
        by_every_name_and_type();
        the_others();
        pointers();
        many_at_once("path");
        char name[50];
        snprintf(name, sizeof name, "@often-%d", getpid());
        many_at_once(name);
        waiting();
    } else if (!strcmp(mode, "outside")) {
        outside();
    } else return 2;
    return finish();
}
