/* sockets: UNIX stream sockets work by the paths of the view; the internet only if the run was given it.
 *
 *   sockets unix       in a writable directory; the same natively and in sbox
 *   sockets loopback   TCP and UDP over 127.0.0.1; natively and with --net host
 *   sockets refused    what sbox refuses without --net host (sbox only)
 *   sockets reach PATH connects to PATH and prints what comes: "stat", "open" and "connect" results too */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t unix_addr(struct sockaddr_un *a, const char *path) {
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    strncpy(a->sun_path, path, sizeof a->sun_path - 1);
    return offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}

static int connect_to(const char *path, int flags) {
    struct sockaddr_un a;
    socklen_t n = unix_addr(&a, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);
    if (connect(fd, (struct sockaddr *)&a, n) < 0) { int e = errno; close(fd); errno = e; return -1; }
    return fd;
}

static void names(const char *label, int fd, int (*get)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_un a;
    socklen_t n = sizeof a;
    memset(&a, 0, sizeof a);
    if (get(fd, (struct sockaddr *)&a, &n) < 0) fact(label, -1);
    else printf("%s: family %d \"%s\" length %d\n", label, a.sun_family, n > 2 ? a.sun_path : "", (int)n);
}

static int getsock(int fd, struct sockaddr *a, socklen_t *n) { return getsockname(fd, a, n); }
static int getpeer(int fd, struct sockaddr *a, socklen_t *n) { return getpeername(fd, a, n); }

static void pass_descriptor(int via_a, int via_b) {
    int fd = open("/etc/passwd", O_RDONLY);
    char data = 'd', ctl[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {&data, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof ctl};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    fact("sendmsg with a descriptor", sendmsg(via_a, &m, 0));
    close(fd);
    memset(ctl, 0, sizeof ctl);
    m.msg_controllen = sizeof ctl;
    fact("recvmsg", recvmsg(via_b, &m, 0));
    c = CMSG_FIRSTHDR(&m);
    int got = -1;
    if (c) memcpy(&got, CMSG_DATA(c), sizeof got);
    char b = 0;
    ok(got >= 0 && read(got, &b, 1) == 1, "the descriptor that came can be read");
    close(got);
}

static void unix_streams(void) {
    struct sockaddr_un a;
    socklen_t n = unix_addr(&a, "the.socket");
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink("the.socket");
    fact("bind", bind(l, (struct sockaddr *)&a, n));
    struct stat st;
    stat("the.socket", &st);
    printf("mode of the socket file: %o\n", st.st_mode);
    fact("connect before listen", connect_to("the.socket", 0));
    fact("listen", listen(l, 8));
    names("its name", l, getsock);
    int c = connect_to("the.socket", 0), s = accept(l, NULL, NULL);
    ok(c >= 0 && s >= 0, "connect and accept");
    names("the client's name", c, getsock);
    names("the peer's name", c, getpeer);
    char buf[16] = "";
    fact("write", write(c, "hello", 5));
    fact("read", read(s, buf, sizeof buf));
    puts(buf);
    pass_descriptor(c, s);
    struct { int pid; unsigned uid, gid; } cred;
    socklen_t cl = sizeof cred;
    getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &cl);
    printf("SO_PEERCRED: uid %d\n", cred.uid == getuid());
    close(c), close(s);
    char cwd[PATH_MAX], abs[PATH_MAX + 20];
    snprintf(abs, sizeof abs, "%s/the.socket", getcwd(cwd, sizeof cwd));
    if (strlen(abs) < 108) { int fd = connect_to(abs, 0); printf("absolute path: %d\n", fd >= 0); close(fd); close(accept(l, NULL, NULL)); }
    symlink("the.socket", "to.socket");
    fact_fd("through a link", connect_to("to.socket", 0));
    fact_fd("nonblocking", connect_to("the.socket", SOCK_NONBLOCK));
    fact("bind to a name that exists", bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, n));
    fact("bind twice", bind(l, (struct sockaddr *)&a, n));
    fact("connect to nothing", connect_to("absent.socket", 0));
    put("plain", "", 0644);
    fact("connect to a file", connect_to("plain", 0));
    fact("connect to a directory", connect_to(".", 0));
    n = unix_addr(&a, "nodir/x");
    fact("bind below nothing", bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, n));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    fact("connect, short address", connect(fd, (struct sockaddr *)&a, 1));
    fact("connect, bad address", connect(fd, (struct sockaddr *)8, 20));
    fact("connect, wrong family", ({ a.sun_family = AF_INET; connect(fd, (struct sockaddr *)&a, n); }));
    fact("connect, long address", connect(fd, (struct sockaddr *)&a, 200));
    fact("connect of no socket", connect(0, (struct sockaddr *)&a, n));
    fact("connect of a closed descriptor", connect(999, (struct sockaddr *)&a, n));
    /* 108 bytes without a NUL are a legal name */
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    memset(a.sun_path, 'n', sizeof a.sun_path);
    int big = socket(AF_UNIX, SOCK_STREAM, 0);
    fact("bind, 108 bytes without NUL", bind(big, (struct sockaddr *)&a, sizeof a));
    listen(big, 1);
    fact("connect to it", connect(fd, (struct sockaddr *)&a, sizeof a));
    close(big), close(fd);
    unlink("the.socket");
    fact("after unlink", connect_to("the.socket", 0));
    close(l);

    int sv[2];
    fact("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
    pass_descriptor(sv[0], sv[1]);
    fact("shutdown", shutdown(sv[0], SHUT_WR));
    fact("end of file", read(sv[1], buf, 1));
    close(sv[0]), close(sv[1]);
    fact("socketpair seqpacket", socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv));
    write(sv[0], "one", 3), write(sv[0], "two", 3);
    fact("records stay apart", read(sv[1], buf, sizeof buf));
    close(sv[0]), close(sv[1]);
}

static void loopback(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    fact("tcp bind", bind(l, (struct sockaddr *)&a, sizeof a));
    fact("tcp listen", listen(l, 4));
    getsockname(l, (struct sockaddr *)&a, &n);
    int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int r = connect(c, (struct sockaddr *)&a, n);
    printf("nonblocking connect: %s\n", r == 0 || errno == EINPROGRESS ? "under way" : errname(errno));
    struct pollfd p = {c, POLLOUT, 0};
    fact("poll", poll(&p, 1, 2000));
    int err = -1;
    socklen_t el = sizeof err;
    getsockopt(c, SOL_SOCKET, SO_ERROR, &err, &el);
    printf("SO_ERROR: %s\n", errname(err));
    int s = accept(l, NULL, NULL);
    char buf[8] = "";
    write(c, "tcp", 3);
    fact("tcp read", read(s, buf, sizeof buf));
    close(c), close(s), close(l);
    c = socket(AF_INET, SOCK_STREAM, 0);
    fact("connect to a closed port", connect(c, (struct sockaddr *)&a, n));
    close(c);

    int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
    a.sin_port = 0;
    fact("udp bind", bind(u, (struct sockaddr *)&a, sizeof a));
    getsockname(u, (struct sockaddr *)&a, &n);
    fact("sendto", sendto(v, "udp", 3, 0, (struct sockaddr *)&a, n));
    fact("recv", recv(u, buf, sizeof buf, 0));
    struct iovec io = {"msg", 3};
    struct msghdr m = {.msg_name = &a, .msg_namelen = n, .msg_iov = &io, .msg_iovlen = 1};
    fact("sendmsg", sendmsg(v, &m, 0));
    fact("recv", recv(u, buf, sizeof buf, 0));
    struct mmsghdr mm[2] = {{m, 0}, {m, 0}};
    fact("sendmmsg", sendmmsg(v, mm, 2, 0));
    fact("recv", recv(u, buf, sizeof buf, 0));
    fact("connected udp", connect(v, (struct sockaddr *)&a, n));
    fact("send", send(v, "x", 1, 0));
    fact("recv 2nd of sendmmsg", recv(u, buf, sizeof buf, 0));
    fact("recv", recv(u, buf, sizeof buf, 0));
}

static void refused(void) {
    ok(fails(socket(AF_INET, SOCK_STREAM, 0), EACCES), "inet stream");
    ok(fails(socket(AF_INET, SOCK_DGRAM, 0), EACCES), "inet datagram");
    ok(fails(socket(AF_INET6, SOCK_STREAM, 0), EACCES), "inet6");
    ok(socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */) < 0, "multipath tcp");
    /* an abstract name of somebody outside must not be reachable; one of our own may be */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *name = getenv("GUEST_ABSTRACT");
    if (!name) name = "nobody";
    memcpy(a.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ok(connect(fd, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)) < 0, "an abstract name outside");
    close(fd);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "unix")) unix_streams();
    else if (!strcmp(mode, "loopback")) loopback();
    else if (!strcmp(mode, "refused")) refused();
    else if (!strcmp(mode, "reach") && argc > 2) {
        struct stat st;
        char c = '-';
        fact("stat", stat(argv[2], &st));
        int fd = connect_to(argv[2], 0);
        fact("connect", fd < 0 ? -1 : 0);
        if (fd >= 0 && read(fd, &c, 1) == 1) printf("got %c\n", c);
    } else return 2;
    return finish();
}
