/* datagrams: unix datagram sockets by the paths and abstract names of the view; the same natively and in sbox.
 *
 *   datagrams names      addresses in every call that tells one, whole and cut
 *   datagrams errors     what each call says to what is wrong
 *   datagrams sleeping   full queues: waiting, not waiting, interrupted, in time
 *   datagrams passing    several messages in one call, descriptors, credentials
 *   datagrams threads    the first such socket of a process whose other threads are busy
 *   datagrams long DIR   below DIR, whose path on the host may be longer than any address
 *   datagrams cost       time of one sendmsg on a stream, before and after; printed as a measurement */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

static struct sockaddr_un addr;
static socklen_t len;

static socklen_t length_of(const char *name) {
    size_t n = strlen(name);
    return n >= sizeof addr.sun_path ? sizeof addr : PATH_AT + n + (*name != '@');
}

/* Sets addr and len to a path, or with a leading '@' to an abstract name. */
static struct sockaddr *to(const char *name) {
    memset(&addr, 0, sizeof addr);
    addr.sun_family = AF_UNIX;
    len = length_of(name);
    memcpy(addr.sun_path, name, strnlen(name, sizeof addr.sun_path));
    if (*name == '@') addr.sun_path[0] = 0;
    return (struct sockaddr *)&addr;
}
#define TO(name) to(name), length_of(name)

static int dgram(const char *name) {
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0) { perror("socket"); exit(2); }
    if (name && bind(fd, TO(name)) < 0) printf("bind %s: %s\n", name, errname(errno));
    return fd;
}

/* The directory that we are in is another one natively. */
static void print_address(const char *what, const unsigned char *a, socklen_t told, size_t room) {
    static char cwd[PATH_MAX];
    if (!*cwd) getcwd(cwd, sizeof cwd);
    size_t n = told < room ? told : room;
    printf("%s: length %d: \"", what, (int)told);
    for (size_t i = 0; i < n; i++) {
        size_t part = n - i < strlen(cwd) ? n - i : strlen(cwd);
        if (part > 1 && !memcmp(a + i, cwd, part)) { printf(part < strlen(cwd) ? "CW" : "CWD"); i += part - 1; }
        else if (a[i] > 31 && a[i] < 127) putchar(a[i]);
        else printf("\\%d", a[i]);
    }
    puts("\"");
    for (size_t i = room; i < 200; i++) if (a[i] != 'z') { ok(0, "%s: byte %zu behind the room is untouched", what, i); break; }
}

static unsigned char area[256];
static const size_t rooms[] = {128, 110, 40, 9, 2, 1, 0};
#define EACH_ROOM for (size_t r_ = 0, room = rooms[0]; r_ < sizeof rooms / sizeof *rooms && (room = rooms[r_], memset(area, 'z', sizeof area), 1); r_++)

static void show_names(const char *who, int fd) {
    char what[100];
    EACH_ROOM {
        socklen_t n = room;
        snprintf(what, sizeof what, "%s, getsockname, room %zu", who, room);
        if (getsockname(fd, (void *)area, &n) < 0) fact(what, -1); else print_address(what, area, n, room);
    }
    EACH_ROOM {
        socklen_t n = room;
        snprintf(what, sizeof what, "%s, getpeername, room %zu", who, room);
        if (getpeername(fd, (void *)area, &n) < 0) { fact(what, -1); break; } else print_address(what, area, n, room);
    }
}

/* Sends by every call from one to another, and shows what the receiver learns. */
static void exchange(const char *who, int from, int at, const char *name) {
    char what[100], buf[32];
    EACH_ROOM {
        if (room < 24) continue; /* DIFFERS: the length of an address that was cut may be another */
        snprintf(what, sizeof what, "%s, recvfrom, room %zu", who, room);
        if (sendto(from, "hello", 5, 0, TO(name)) != 5) { fact(what, -1); return; }
        socklen_t n = room;
        fact(what, recvfrom(at, buf, sizeof buf, 0, (void *)area, &n));
        print_address(what, area, n, room);
    }
    EACH_ROOM {
        if (room < 24) continue;
        snprintf(what, sizeof what, "%s, recvmsg, room %zu", who, room);
        struct iovec io[2] = {{"mess", 4}, {"age", 3}};
        struct msghdr m = {.msg_iov = io, .msg_iovlen = 2};
        m.msg_name = to(name), m.msg_namelen = len;
        if (sendmsg(from, &m, 0) != 7) { fact(what, -1); return; }
        struct iovec in = {buf, sizeof buf};
        m = (struct msghdr){.msg_name = area, .msg_namelen = room, .msg_iov = &in, .msg_iovlen = 1};
        fact(what, recvmsg(at, &m, 0));
        print_address(what, area, m.msg_namelen, room);
    }
    struct iovec io = {"many", 4};
    struct mmsghdr mm[3] = {0};
    to(name);
    for (int i = 0; i < 3; i++) mm[i].msg_hdr = (struct msghdr){.msg_name = &addr, .msg_namelen = len, .msg_iov = &io, .msg_iovlen = 1};
    fact("sendmmsg", sendmmsg(from, mm, 3, 0));
    printf("lengths %u %u %u\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    unsigned char several[3][256];
    char bufs[3][8];
    struct iovec ins[3];
    memset(several, 'z', sizeof several);
    for (int i = 0; i < 3; i++) {
        ins[i] = (struct iovec){bufs[i], 8};
        mm[i].msg_hdr = (struct msghdr){.msg_name = i == 1 ? NULL : several[i], .msg_namelen = 128, .msg_iov = &ins[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(at, mm, 3, MSG_DONTWAIT, NULL);
    fact("recvmmsg", n);
    for (int i = 0; i < n; i += 2) print_address("recvmmsg", several[i], mm[i].msg_hdr.msg_namelen, 128);
}

static void names(void) {
    char cwd[PATH_MAX], abs[PATH_MAX + 8], longest[109], buf[16];
    snprintf(abs, sizeof abs, "%s/abs", getcwd(cwd, sizeof cwd));
    mkdir("sub", 0755);
    symlink("sub", "link");
    memset(longest, 'L', 108), longest[108] = 0;
    int nameless = dgram(NULL), at = dgram("server");
    show_names("nameless", nameless);
    exchange("nameless", nameless, at, "server");
    const char *all[] = {"client", "./dotted", "sub/below", "link/through", "sub/../sub/client", "client/", "@abstract", "@abstract2", "@",
                         longest, longest + 1, strlen(abs) < 108 ? abs : "abs"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int fd = dgram(all[i]);
        char label[120];
        snprintf(label, sizeof label, "%zu", i);
        show_names(label, fd);
        exchange(label, fd, at, "server");
        close(fd);
    }
    /* the longest abstract name */
    longest[0] = '@';
    int fd = dgram(longest);
    show_names("longest abstract", fd);
    exchange("longest abstract", fd, at, "server");
    exchange("to the longest abstract", at, fd, longest);
    /* abstract names hold any bytes, and the length counts */
    to("@zero"), len = len + 3;
    int zero = socket(AF_UNIX, SOCK_DGRAM, 0);
    fact("bind with NULs", bind(zero, (void *)&addr, len));
    show_names("with NULs", zero);
    fact("sendto, right length", sendto(nameless, "x", 1, 0, (void *)&addr, len));
    fact("sendto, shorter", sendto(nameless, "x", 1, 0, (void *)&addr, len - 1));
    /* a name that the kernel chooses */
    int any = socket(AF_UNIX, SOCK_DGRAM, 0), other = socket(AF_UNIX, SOCK_DGRAM, 0);
    sa_family_t family = AF_UNIX;
    fact("autobind", bind(any, (void *)&family, sizeof family));
    fact("autobind again", bind(any, (void *)&family, sizeof family));
    struct sockaddr_un own = {0};
    socklen_t n = sizeof own;
    fact("its name", getsockname(any, (void *)&own, &n));
    printf("length %d, %zu digits\n", n, strspn(own.sun_path + 1, "0123456789abcdef"));
    fact("sendto it", sendto(nameless, "auto", 4, 0, (void *)&own, n));
    fact("recv", recv(any, buf, sizeof buf, MSG_DONTWAIT));
    int one = 1;
    setsockopt(other, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    n = sizeof own;
    getsockname(other, (void *)&own, &n);
    printf("SO_PASSCRED, unbound: length %d\n", n);
    sendto(other, "x", 1, 0, TO("server"));
    struct sockaddr_un from = {0};
    n = sizeof from;
    fact("recvfrom", recvfrom(at, buf, sizeof buf, 0, (void *)&from, &n));
    printf("SO_PASSCRED, after sending: length %d\n", n);
    fact("an answer", sendto(at, "y", 1, 0, (void *)&from, n));
    fact("arrives", recv(other, buf, sizeof buf, MSG_DONTWAIT));
    /* connected */
    int a = dgram("a"), b = dgram("@b");
    fact("connect", connect(a, TO("@b")));
    show_names("a to @b", a);
    fact("connect back", connect(b, TO("a")));
    show_names("@b to a", b);
    fact("send", send(a, "sent", 4, 0));
    fact("write", write(a, "written", 7));
    fact("recv", recv(b, buf, sizeof buf, 0));
    fact("read", read(b, buf, sizeof buf));
    fact("a third may not", sendto(nameless, "x", 1, 0, TO("a")));
    fact("sendto while connected", sendto(a, "x", 1, 0, TO("server")));
    n = sizeof from;
    fact("recvfrom", recvfrom(at, buf, sizeof buf, 0, (void *)&from, &n));
    memset(area, 'z', sizeof area), memcpy(area, &from, n);
    print_address("from", area, n, 128);
    from.sun_family = AF_UNSPEC;
    fact("disconnect", connect(a, (void *)&from, sizeof from));
    show_names("a alone", a);
    fact("send alone", send(a, "x", 1, 0));
    /* accept tells who connects */
    for (int type = SOCK_STREAM;; type = SOCK_SEQPACKET) {
        int l = socket(AF_UNIX, type, 0);
        unlink("listener");
        bind(l, TO("listener")), listen(l, 100);
        const char *clients[] = {NULL, "sub/conn", "@conn"};
        for (int i = 0; i < 3; i++) {
            unlink("sub/conn");
            for (int four = 0; four < 2; four++) EACH_ROOM {
                int c = socket(AF_UNIX, type, 0);
                unlink("sub/conn");
                if (clients[i] && bind(c, TO(clients[i])) < 0) fact("bind", -1);
                fact("connect", connect(c, TO("listener")));
                n = room;
                int s = four ? accept4(l, (void *)area, &n, SOCK_CLOEXEC) : accept(l, (void *)area, &n);
                if (s < 0) fact("accept", -1); else print_address("accept", area, n, room);
                if (room == 128) show_names("accepted", s), show_names("connected", c);
                close(s), close(c);
            }
        }
        close(l);
        if (type == SOCK_SEQPACKET) break;
    }
}

static int emptied = -1;
/* So that nobody waits for room in a queue. */
static void empty(void) { char c; while (recv(emptied, &c, 1, MSG_DONTWAIT) >= 0) {} }

/* Every way to send to a name: its answers. */
static void send_all(const char *what, int fd, const void *name, socklen_t n) {
    empty();
    char label[100];
    snprintf(label, sizeof label, "%s, sendto", what);
    fact(label, sendto(fd, "x", 1, 0, name, n));
    struct iovec io = {"x", 1};
    struct mmsghdr m = {.msg_hdr = {.msg_name = (void *)name, .msg_namelen = n, .msg_iov = &io, .msg_iovlen = 1}};
    snprintf(label, sizeof label, "%s, sendmsg", what);
    fact(label, sendmsg(fd, &m.msg_hdr, 0));
    snprintf(label, sizeof label, "%s, sendmmsg", what);
    fact(label, sendmmsg(fd, &m, 1, 0));
    snprintf(label, sizeof label, "%s, connect", what);
    fact(label, connect(fd, name, n));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    connect(fd, &none, sizeof none);
}

static void errors(void) {
    char buf[16];
    mkdir("dir", 0755), mkdir("closed", 0755);
    put("file", "", 0644);
    symlink("nowhere", "dangling");
    symlink("loop", "loop");
    int fd = dgram(NULL), server = emptied = dgram("server"), gone = dgram("gone");
    symlink("server", "alias");
    close(gone);
    int l = socket(AF_UNIX, SOCK_STREAM, 0), p = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    bind(l, TO("stream")), listen(l, 3);
    bind(p, TO("packets")), listen(p, 3);
    int mute = dgram("mute");
    chmod("mute", 0);
    const char *wrong[] = {"absent", "dir", "file", "file/x", "dir/absent", "dangling", "loop", "gone", "stream", "packets", "alias",
                           "server", "server/", "@nobody", "/proc/self/fd/0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        to(wrong[i]);
        struct sockaddr_un a = addr;
        send_all(wrong[i], fd, &a, len);
    }
    if (geteuid()) { to("mute"); struct sockaddr_un a = addr; send_all("not permitted", fd, &a, len); }
    close(mute);
    to("server");
    struct sockaddr_un a = addr;
    int lens[] = {0, 1, 2, 3, 4, 9, 109, 110, 111, 128, 129, 1000, -1};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        char what[32];
        char big[1100] = {0};
        memcpy(big, &a, sizeof a);
        snprintf(what, sizeof what, "length %d", lens[i]);
        send_all(what, fd, big, lens[i]);
    }
    a.sun_family = AF_INET;
    send_all("another family", fd, &a, sizeof a);
    a.sun_family = AF_UNIX;
    send_all("a bad pointer", fd, (void *)8, 20);
    empty();
    fact("sendto from a bad pointer", sendto(fd, (void *)8, 20, 0, (void *)&a, sizeof a));
    fact("sendto nothing", sendto(fd, NULL, 0, 0, (void *)&a, sizeof a));
    fact("sendto, no address, not connected", sendto(fd, "x", 1, 0, NULL, 0));
    fact("sendto out of band", sendto(fd, "x", 1, MSG_OOB, (void *)&a, sizeof a));
    static char big[1 << 20];
    fact("sendto, too long", sendto(fd, big, sizeof big, 0, (void *)&a, sizeof a));
    fact("sendto of a closed descriptor", sendto(999, "x", 1, 0, (void *)&a, sizeof a));
    int file = open("file", O_RDONLY);
    fact("sendto of a file", sendto(file, "x", 1, 0, (void *)&a, sizeof a));
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof a};
    fact("sendmsg of nothing", sendmsg(fd, &m, 0));
    fact("sendmsg of a closed descriptor", sendmsg(999, &m, 0));
    fact("sendmsg of a file", sendmsg(file, &m, 0));
    fact("sendmsg, bad header", sendmsg(fd, (void *)8, 0));
    m.msg_iov = (void *)8, m.msg_iovlen = 1;
    fact("sendmsg, bad vector", sendmsg(fd, &m, 0));
    m.msg_iovlen = 1025;
    fact("sendmsg, vector too long", sendmsg(fd, &m, 0));
    struct iovec io = {(void *)8, 9};
    m.msg_iov = &io, m.msg_iovlen = 1;
    fact("sendmsg, bad bytes", sendmsg(fd, &m, 0));
    io = (struct iovec){"x", (size_t)-1};
    fact("sendmsg, negative length", sendmsg(fd, &m, 0));
    io = (struct iovec){"x", 1};
    m.msg_control = (void *)8, m.msg_controllen = 24;
    fact("sendmsg, bad control data", sendmsg(fd, &m, 0));
    struct { struct cmsghdr h; int fd[1]; } c = {{CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}, {999}};
    m.msg_control = &c, m.msg_controllen = CMSG_LEN(sizeof(int));
    fact("sendmsg, passes a closed descriptor", sendmsg(fd, &m, 0));
    c.h.cmsg_len = 4;
    fact("sendmsg, control message too short", sendmsg(fd, &m, 0));
    c.h.cmsg_len = 400;
    fact("sendmsg, control message too long", sendmsg(fd, &m, 0));
    c = (typeof(c)){{CMSG_LEN(sizeof(int)), SOL_SOCKET, 77}, {0}};
    fact("sendmsg, unknown control message", sendmsg(fd, &m, 0));
    m.msg_control = NULL, m.msg_controllen = 0;
    fact("sendmmsg of none", sendmmsg(fd, (void *)8, 0, 0));
    fact("sendmmsg, bad vector", sendmmsg(fd, (void *)8, 1, 0));
    struct mmsghdr mm[3] = {{.msg_hdr = m}, {.msg_hdr = m}, {.msg_hdr = m}};
    mm[1].msg_hdr.msg_name = (void *)8;
    empty();
    fact("sendmmsg, the second is wrong", sendmmsg(fd, mm, 3, 0));
    struct sockaddr_un absent = {.sun_family = AF_UNIX, .sun_path = "absent"};
    mm[1].msg_hdr.msg_name = &absent;
    fact("sendmmsg, the second goes nowhere", sendmmsg(fd, mm, 3, 0));
    mm[0].msg_hdr.msg_name = &absent;
    fact("sendmmsg, the first goes nowhere", sendmmsg(fd, mm, 3, 0));
    empty();
    /* bind */
    fact("bind to a name that exists", bind(fd, TO("file")));
    fact("bind to a bound name", bind(fd, TO("server")));
    fact("bind in nothing", bind(fd, TO("absent/x")));
    fact("bind in a file", bind(fd, TO("file/x")));
    fact("bind through a dangling link", bind(fd, TO("dangling")));
    fact("bind", bind(fd, TO("mine")));
    fact("bind again", bind(fd, TO("mine2")));
    int abs1 = dgram("@taken"), abs2 = socket(AF_UNIX, SOCK_DGRAM, 0), abs3 = socket(AF_UNIX, SOCK_STREAM, 0);
    fact("an abstract name that is taken", bind(abs2, TO("@taken")));
    fact("of another type", bind(abs3, TO("@taken")));
    close(abs1);
    fact("free again", bind(abs2, TO("@taken")));
    /* unlinked while bound */
    fact("connect", connect(fd, TO("server")));
    unlink("server");
    fact("send after unlink", send(fd, "x", 1, 0));
    fact("sendto after unlink", sendto(fd, "x", 1, 0, TO("server")));
    fact("recv", recv(server, buf, sizeof buf, MSG_DONTWAIT));
    int again = dgram("server");
    fact("bind again after unlink", again < 0 ? -1 : 0);
    fact("the new one", sendto(again, "x", 1, 0, TO("server")));
    fact("the old one has nothing", recv(server, buf, sizeof buf, MSG_DONTWAIT));
    close(server);
    fact("send to a closed one", send(fd, "x", 1, 0));
    fact("and again", send(fd, "x", 1, 0));
    shutdown(fd, SHUT_WR);
    fact("sendto after shutdown", sendto(fd, "x", 1, 0, TO("server")));
    /* the other types, with an address */
    int s = socket(AF_UNIX, SOCK_STREAM, 0), q = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    to("absent");
    a = addr;
    fact("stream, not connected, sendto", sendto(s, "x", 1, MSG_NOSIGNAL, (void *)&a, sizeof a));
    fact("packets, not connected, sendto", sendto(q, "x", 1, MSG_NOSIGNAL, (void *)&a, sizeof a));
    fact("connect a stream", connect(s, TO("stream")));
    fact("connect packets", connect(q, TO("packets")));
    m.msg_name = &a, m.msg_namelen = sizeof a;
    fact("stream, sendto", sendto(s, "x", 1, 0, (void *)&a, sizeof a));
    fact("stream, sendmsg", sendmsg(s, &m, 0));
    fact("packets, sendto", sendto(q, "x", 1, 0, (void *)&a, sizeof a));
    fact("packets, sendmsg", sendmsg(q, &m, 0));
    int accepted = accept(p, NULL, NULL);
    fact("packets, arrived", recv(accepted, buf, sizeof buf, 0));
    fact("stream to a datagram socket", connect(socket(AF_UNIX, SOCK_STREAM, 0), TO("mine")));
    fcntl(l, F_SETFL, O_NONBLOCK);
    fact("accept, bad pointer", accept(l, (void *)8, &len));
    fact("accept, no length", accept(l, (void *)&a, NULL));
    len = sizeof a;
    fact("accept, nobody", accept(l, (void *)&a, &len));
    len = sizeof a;
    fact("accept of a datagram socket", accept(fd, (void *)&a, &len));
    len = -1;
    fact("recvfrom, negative room", recvfrom(again, buf, 1, MSG_DONTWAIT, (void *)&a, &len));
    fact_fd("socket of an unknown type", socket(AF_UNIX, 6, 0));
    fact_fd("socket of an unknown protocol", socket(AF_UNIX, SOCK_STREAM, 2));
    fact_fd("socket of an unknown protocol", socket(AF_UNIX, SOCK_DGRAM, 2));
    fact_fd("raw", socket(AF_UNIX, SOCK_RAW, 0));
    int sv[2];
    fact("pair of an unknown protocol", socketpair(AF_UNIX, SOCK_DGRAM, 9, sv));
    fact("pair, bad pointer", syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, 8));
    fact("pair", socketpair(AF_UNIX, SOCK_DGRAM, 0, sv));
    fact("from end to end", send(sv[0], "x", 1, 0));
    fact("recv", recv(sv[1], buf, sizeof buf, 0));
    fact("an end sends to a name", sendto(sv[0], "x", 1, 0, TO("server")));
}

static int ticks;
static void tick(int s) { (void)s; ticks++; }

static void *drain_later(void *p) {
    char buf[16];
    sleep_ms(50);
    for (int i = 0; i < 100; i++) recv(*(int *)p, buf, sizeof buf, 0);
    return NULL;
}

/* Sends by one of three calls. */
static long send_by(int call, int fd, const char *name, int flags) {
    struct iovec io = {"x", 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &io, .msg_iovlen = 1}};
    m.msg_hdr.msg_name = to(name), m.msg_hdr.msg_namelen = len;
    switch (call) {
    case 0: return sendto(fd, "x", 1, flags, (void *)&addr, len);
    case 1: return sendmsg(fd, &m.msg_hdr, flags);
    default: return sendmmsg(fd, &m, 1, flags);
    }
}

static void sleeping(void) {
    char buf[16];
    for (int call = 0; call < 3; call++) {
        unlink("full");
        int at = dgram("full"), fd = dgram(NULL), n = 0;
        while (send_by(call, fd, "full", MSG_DONTWAIT) == 1) n++;
        fact("not waiting", -1);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        fact("O_NONBLOCK", send_by(call, fd, "full", 0));
        fcntl(fd, F_SETFL, 0);
        struct timeval some = {0, 30000}, none = {0, 0};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &some, sizeof some);
        fact("in time", send_by(call, fd, "full", 0));
        for (int restart = 0; restart < 3; restart++) {
            struct sigaction sa = {.sa_handler = tick, .sa_flags = restart ? SA_RESTART : 0};
            sigaction(SIGALRM, &sa, NULL);
            some.tv_sec = 5;
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, restart == 2 ? &some : &none, sizeof none);
            ticks = 0;
            /* one signal, and with SA_RESTART somebody who makes room some time later */
            struct itimerval once = {.it_value = {0, 40000}};
            pid_t p = fork_clean();
            if (!p) {
                sleep_ms(200);
                if (restart == 1) recv(at, buf, sizeof buf, 0);
                _exit(0);
            }
            setitimer(ITIMER_REAL, &once, NULL);
            long r = send_by(call, fd, "full", 0);
            printf("interrupted, restart %d: %s, %d signal\n", restart, r < 0 ? errname(errno) : "sent", ticks);
            reap(p, 5000);
            while (send_by(call, fd, "full", MSG_DONTWAIT) == 1) {}
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
        pthread_t t;
        pthread_create(&t, NULL, drain_later, &at);
        int sent = 0;
        for (int i = 0; i < 100 - n; i++) sent += send_by(call, fd, "full", 0) == 1;
        while (n + sent < 100) sent += send_by(call, fd, "full", 0) == 1;
        pthread_join(t, NULL);
        fact("all were sent, slowly", n + sent >= 100 ? 100 : -1);
        close(at), close(fd);
    }
    /* whoever waits for room is told when the receiver goes */
    int at = dgram("goes"), fd = dgram(NULL);
    while (sendto(fd, "x", 1, MSG_DONTWAIT, TO("goes")) == 1) {}
    pid_t p = fork_clean();
    if (!p) { sleep_ms(100); _exit(0); }
    close(at);
    fact("the receiver has gone", sendto(fd, "x", 1, 0, TO("goes")));
    reap(p, 5000);
    /* a stream that is longer than its buffers, with descriptors, by one call */
    int sv[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    static char big[3 << 20], in[1 << 16];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 >> 4);
    p = fork_clean();
    if (!p) {
        size_t total = 0, same = 1;
        close(sv[0]);
        for (ssize_t r; (r = read(sv[1], in, sizeof in)) > 0; total += r) same &= !memcmp(in, big + total, r);
        printf("%zu bytes, %s\n", total, same ? "as they were" : "others");
        fflush(stdout);
        _exit(0);
    }
    close(sv[1]);
    struct iovec parts[2] = {{big, 1 << 20}, {big + (1 << 20), 2 << 20}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    fact("a long message", sendmsg(sv[0], &m, 0));
    close(sv[0]);
    reap(p, 5000);
    /* nobody reads any more */
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    close(sv[1]);
    struct sigaction sa = {.sa_handler = tick};
    sigaction(SIGPIPE, &sa, NULL);
    ticks = 0;
    fact("broken pipe, quietly", sendmsg(sv[0], &m, MSG_NOSIGNAL));
    printf("%d signals\n", ticks);
    fact("broken pipe", sendmsg(sv[0], &m, 0));
    printf("%d signals\n", ticks);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv);
    close(sv[1]);
    parts[0].iov_len = 1, m.msg_iovlen = 1;
    fact("broken, of packets", sendmsg(sv[0], &m, 0));
    printf("%d signals\n", ticks);
}

static void passing(void) {
    int at = dgram("at"), fd = dgram(NULL), one = 1;
    setsockopt(at, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    put("file", "content", 0644);
    for (int fds = 0; fds < 3; fds++) for (int creds = 0; creds < 3; creds++) {
        union { char c[200]; struct cmsghdr h; } out = {0}, in;
        struct msghdr m = {.msg_control = &out, .msg_controllen = sizeof out};
        struct iovec io = {"p", 1};
        char buf[8];
        m.msg_iov = &io, m.msg_iovlen = 1, m.msg_name = to("at"), m.msg_namelen = len;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        size_t used = 0;
        int passed[2] = {open("file", O_RDONLY), open(".", O_PATH | O_DIRECTORY)};
        if (fds) {
            *c = (struct cmsghdr){CMSG_LEN(fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
            memcpy(CMSG_DATA(c), passed, fds * sizeof(int));
            used += CMSG_SPACE(fds * sizeof(int));
            c = CMSG_NXTHDR(&m, c);
        }
        if (creds) {
            *c = (struct cmsghdr){CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS};
            struct ucred u = {creds == 1 ? getpid() : 1, getuid(), getgid()};
            memcpy(CMSG_DATA(c), &u, sizeof u);
            used += CMSG_SPACE(sizeof(struct ucred));
        }
        m.msg_controllen = used;
        if (!used) m.msg_control = NULL;
        printf("%d descriptors, credentials %d\n", fds, creds);
        if (creds == 2 && !getuid()) { puts("root may claim"); close(passed[0]), close(passed[1]); continue; }
        if (fact("sendmsg", sendmsg(fd, &m, 0)) < 0) { close(passed[0]), close(passed[1]); continue; }
        io = (struct iovec){buf, sizeof buf};
        m = (struct msghdr){.msg_iov = &io, .msg_iovlen = 1, .msg_control = &in, .msg_controllen = sizeof in};
        fact("recvmsg", recvmsg(at, &m, MSG_CMSG_CLOEXEC));
        printf("flags %x\n", m.msg_flags & MSG_CTRUNC);
        for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            printf("control message %d, %zu bytes\n", c->cmsg_type, (size_t)c->cmsg_len);
            if (c->cmsg_type == SCM_RIGHTS) {
                int got[2] = {-1, -1};
                memcpy(got, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
                char text[8] = "";
                fact("read of what came", read(got[0], text, 7));
                puts(text);
                if (got[1] >= 0) fact("open below what came", close(openat(got[1], "file", O_RDONLY)));
                close(got[0]), close(got[1]);
            } else if (c->cmsg_type == SCM_CREDENTIALS) {
                struct ucred u;
                memcpy(&u, CMSG_DATA(c), sizeof u);
                printf("uid %d gid %d\n", u.uid == getuid(), u.gid == getgid());
            }
        }
        close(passed[0]), close(passed[1]);
    }
    /* several, to several */
    int other = dgram("other");
    struct iovec io[3] = {{"one", 3}, {"three", 5}, {"seven!!", 7}};
    struct sockaddr_un names[2];
    to("at"), names[0] = addr, to("other"), names[1] = addr;
    struct mmsghdr mm[3] = {0};
    for (int i = 0; i < 3; i++) mm[i].msg_hdr = (struct msghdr){.msg_name = &names[i % 2], .msg_namelen = sizeof addr, .msg_iov = &io[i], .msg_iovlen = 1};
    fact("sendmmsg", sendmmsg(fd, mm, 3, 0));
    for (int i = 0; i < 3; i++) printf("length %u\n", mm[i].msg_len);
    char buf[16];
    fact("first", recv(at, buf, 16, 0));
    fact("second", recv(at, buf, 16, 0));
    fact("other", recv(other, buf, 16, 0));
    fact("no more", recv(other, buf, 16, MSG_DONTWAIT));
}

static int stop_fd[2];
static void *nothing(void *p) { return p; }
static void *busy(void *p) {
    long which = (long)p;
    char c;
    struct pollfd f = {stop_fd[0], POLLIN, 0};
    switch (which) {
    case 0: for (volatile int i = 0; poll(&f, 1, 0) == 0; i++) {} break;
    case 1: while (poll(&f, 1, -1) != 1) {} break;
    case 2: while (poll(&f, 1, 0) == 0) { struct stat st; stat("/etc/passwd", &st); } break;
    case 3: while (poll(&f, 1, 0) == 0) { pid_t q = fork(); if (!q) _exit(0); waitpid(q, NULL, 0); } break;
    case 4: while (poll(&f, 1, 0) == 0) { pid_t q = vfork(); if (!q) _exit(0); waitpid(q, NULL, 0); } break;
    case 5: while (read(stop_fd[0], &c, 1) < 0) {} break;
    case 6: while (poll(&f, 1, 0) == 0) { pthread_t t; pthread_create(&t, NULL, nothing, NULL); pthread_join(t, NULL); } break;
    }
    return NULL;
}

static void threads(void) {
    for (int round = 0; round < 4; round++) {
        pid_t p = fork_clean();
        if (!p) {
            pthread_t t[7];
            char c;
            pipe(stop_fd);
            for (long i = 0; i < 7; i++) pthread_create(&t[i], NULL, busy, (void *)i);
            sleep_ms(20);
            unlink("busy");
            int at = dgram("busy"), fd = dgram(NULL);
            fact("sendto", sendto(fd, "x", 1, 0, TO("busy")));
            fact("recv", recv(at, &c, 1, 0));
            pid_t child = fork_clean();
            if (!child) { fact("sendto, a child", sendto(fd, "x", 1, 0, TO("busy"))); _exit(0); }
            fact("child", reap(child, 5000));
            fact("recv", recv(at, &c, 1, 0));
            close(stop_fd[1]);
            for (int i = 0; i < 7; i++) pthread_join(t[i], NULL);
            fflush(stdout);
            _exit(0);
        }
        fact("process", reap(p, 20000));
    }
}

static void longest(const char *dir) {
    char path[200], buf[8];
    snprintf(path, sizeof path, "%s/%0*d", dir, (int)(100 - strlen(dir) - 1), 7);
    int at = dgram(path), fd = dgram(NULL);
    exchange("long", at, at, path);
    fact("connect", connect(fd, TO(path)));
    fact("send", send(fd, "x", 1, 0));
    fact("recv", recv(at, buf, 1, MSG_DONTWAIT));
    show_names("long", fd);
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(path);
    fact("bind a stream", bind(l, TO(path)));
    listen(l, 1);
    fact("connect", connect(c, TO(path)));
    show_names("stream", c);
    unlink(path);
}

static double one_sendmsg(int fds) {
    int sv[2], n = 20000;
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    char buf[64], ctl[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {buf, 64};
    long spent = 0;
    for (int i = 0; i < n; i++) {
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = fds ? ctl : NULL, .msg_controllen = fds ? sizeof ctl : 0};
        if (fds) {
            struct cmsghdr *c = CMSG_FIRSTHDR(&m);
            *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
            memcpy(CMSG_DATA(c), &sv[0], sizeof(int));
        }
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (sendmsg(sv[0], &m, 0) != 64) perror("sendmsg");
        clock_gettime(CLOCK_MONOTONIC, &b);
        spent += (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
        read(sv[1], buf, 64);
    }
    close(sv[0]), close(sv[1]);
    return spent / 1e3 / n;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "names")) names();
    else if (!strcmp(mode, "errors")) errors();
    else if (!strcmp(mode, "sleeping")) sleeping();
    else if (!strcmp(mode, "passing")) passing();
    else if (!strcmp(mode, "threads")) threads();
    else if (!strcmp(mode, "long") && argc > 2) longest(argv[2]);
    else if (!strcmp(mode, "cost")) {
        note("sendmsg on a stream: %.2f us, with a descriptor %.2f us", one_sendmsg(0), one_sendmsg(1));
        int at = dgram("@cost"), fd = dgram(NULL);
        note("beside a datagram socket: %.2f us, with a descriptor %.2f us", one_sendmsg(0), one_sendmsg(1));
        long start = now_us();
        char c;
        for (int i = 0; i < 20000; i++) sendto(fd, "x", 1, 0, TO("@cost")), recv(at, &c, 1, 0);
        note("sendto and recv: %.2f us", (now_us() - start) / 20000.0);
        connect(fd, TO("@cost"));
        start = now_us();
        for (int i = 0; i < 20000; i++) send(fd, "x", 1, 0), recv(at, &c, 1, 0);
        note("send and recv: %.2f us", (now_us() - start) / 20000.0);
        struct sockaddr_un from;
        start = now_us();
        for (int i = 0; i < 20000; i++) send(fd, "x", 1, 0), len = sizeof from, recvfrom(at, &c, 1, 0, (void *)&from, &len);
        note("send and recvfrom: %.2f us", (now_us() - start) / 20000.0);
    } else return 2;
    return finish();
}
