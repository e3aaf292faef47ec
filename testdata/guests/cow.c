/* cow: everything by which a file that is open only for reading can be changed, and listings while things change.
 *
 * Runs in a directory that was filled before (tests/cow_guests.rs). Without an argument every line is a fact, the same in a plain
 * directory and in a copy-on-write mount. With "attack" it does what has no equal answer (names gone, threads racing): only the
 * host's files matter, which the test looks at afterwards. */
#include "check.h"
#include <dirent.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

static char path_buf[64];

static const char *self(int fd) {
    snprintf(path_buf, sizeof path_buf, "/proc/self/fd/%d", fd);
    return path_buf;
}

static void mode_of(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0) fact(path, -1);
    else printf("%s: mode %o size %ld mtime %ld\n", path, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size,
                st.st_mtime == 1000 ? 1000L : 0L);
}

static void text_of(const char *path) {
    char buf[100];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
    if (n < 0) fact(path, -1);
    else printf("%s: \"%.*s\"\n", path, (int)n, buf);
    if (fd >= 0) close(fd);
}

static void write_by(const char *name, const char *path, int flags, const char *text) {
    int fd = open(path, flags);
    fact(name, fd < 0 ? -1 : write(fd, text, strlen(text)));
    if (fd >= 0) close(fd);
}

static const struct timespec old_times[2] = {{1000, 0}, {1000, 0}};

static void attributes_of(const char *name, ssize_t n, const char *list) {
    if (n < 0) { fact(name, -1); return; }
    int user = 0;
    printf("%s:", name);
    for (const char *p = list; p < list + n; p += strlen(p) + 1)
        if (!strncmp(p, "user.", 5)) user++, printf(" %s", p);
    printf(" (%d)\n", user);
}

static void by_descriptor(void) {
    char buf[256];
    int fd = open("a", O_RDONLY);
    fact("fchmod", fchmod(fd, 0640)), mode_of("a");
    fact("fchmod again", fchmod(fd, 0600)), mode_of("a");
    fact("fchown", fchown(fd, getuid(), getgid()));
    fact("futimens", futimens(fd, old_times)), mode_of("a");
    fact("fsetxattr", fsetxattr(fd, "user.x", "xyz", 3, 0));
    fact("getxattr", getxattr("a", "user.x", buf, sizeof buf));
    fact("fgetxattr", fgetxattr(fd, "user.x", buf, sizeof buf));
    fact("fgetxattr, too small", fgetxattr(fd, "user.x", buf, 1));
    fact("fgetxattr, size", fgetxattr(fd, "user.x", NULL, 0));
    attributes_of("flistxattr", flistxattr(fd, buf, sizeof buf), buf);
    fact("flistxattr, too small", flistxattr(fd, buf, 1));
    fact("fremovexattr", fremovexattr(fd, "user.x"));
    fact("fremovexattr again", fremovexattr(fd, "user.x"));
    fact("fgetxattr of nothing", fgetxattr(fd, "user.x", buf, sizeof buf));
    fact("write", write(fd, "no", 2));
    fact("ftruncate", ftruncate(fd, 0));
    fact("fallocate", fallocate(fd, 0, 0, 10));
    int other = open("b", O_RDONLY);
    fact("sendfile", sendfile(fd, other, NULL, 2));
    fact("copy_file_range", copy_file_range(other, NULL, fd, NULL, 2, 0));
    close(other);
    fact("F_SETFL", fcntl(fd, F_SETFL, O_RDWR | O_APPEND));
    fact("write after it", write(fd, "no", 2));
    fact("shared writable mapping", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    fact("made writable", mprotect(p, 4096, PROT_READ | PROT_WRITE));
    munmap(p, 4096);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    p[0] = 'P';
    munmap(p, 4096);
    text_of("a");
    close(fd);
}

static void reopened(int flags, const char *kind) {
    printf("-- through a descriptor %s\n", kind);
    int fd = open("b", flags);
    write_by("reopened to write", self(fd), O_WRONLY, "B"), text_of("b");
    write_by("to append", self(fd), O_WRONLY | O_APPEND, "+"), text_of("b");
    write_by("to do both", self(fd), O_RDWR, "C"), text_of("b");
    fact_fd("access mode 3", open(self(fd), 3));
    write_by("to read", self(fd), O_RDONLY, "no");
    fact("truncate", truncate(self(fd), 2)), text_of("b");
    fact_fd("O_RDONLY O_TRUNC", open(self(fd), O_RDONLY | O_TRUNC)), text_of("b");
    write_by("O_CREAT", self(fd), O_WRONLY | O_CREAT | O_TRUNC, "text of b"), text_of("b");
    fact("chmod", chmod(self(fd), 0604)), mode_of("b");
    fact("chown", chown(self(fd), getuid(), getgid()));
    fact("utimensat", utimensat(AT_FDCWD, self(fd), old_times, 0)), mode_of("b");
    fact("setxattr", setxattr(self(fd), "user.y", "1", 1, 0));
    fact("removexattr", removexattr(self(fd), "user.y"));
    fact("fchmodat2, empty path", syscall(452, fd, "", 0644, AT_EMPTY_PATH)), mode_of("b");
    fact("fchownat, empty path", fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH));
    fact("utimensat, empty path", utimensat(fd, "", old_times, AT_EMPTY_PATH)), mode_of("b");
    fact("access", access(self(fd), W_OK));
    fact("faccessat, empty path", faccessat(fd, "", W_OK, AT_EMPTY_PATH));
    fact("link", linkat(AT_FDCWD, self(fd), AT_FDCWD, "b-linked", AT_SYMLINK_FOLLOW));
    write_by("written by the new name", "b-linked", O_WRONLY, "T"), text_of("b"), text_of("b-linked");
    fact("link over it", linkat(AT_FDCWD, self(fd), AT_FDCWD, "b-linked", AT_SYMLINK_FOLLOW));
    fact("link of the descriptor", linkat(fd, "", AT_FDCWD, "b-linked2", AT_EMPTY_PATH));
    fact("unlink", unlink("b-linked")), unlink("b-linked2");
    pid_t child = fork_clean();
    if (child == 0) {
        char buf[64];
        snprintf(buf, sizeof buf, "/proc/%d/fd/%d", getppid(), fd);
        write_by("a child through /proc/PID/fd", buf, O_WRONLY, "K"), text_of("b");
        fact("a child's chmod", chmod(buf, 0644));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    close(fd);
}

static void reserved_names(void) {
    char buf[256];
    fact("set a name of the format", setxattr("c", "user.overlay.opaque", "y", 1, 0));
    fact("on a directory", setxattr("d", "user.overlay.opaque", "y", 1, 0));
    attributes_of("list", listxattr("c", buf, sizeof buf), buf);
    attributes_of("list of the directory", listxattr("d", buf, sizeof buf), buf);
    int fd = open("c", O_RDONLY), dir = open("d", O_RDONLY | O_DIRECTORY);
    attributes_of("flistxattr", flistxattr(fd, buf, sizeof buf), buf);
    attributes_of("of the directory", flistxattr(dir, buf, sizeof buf), buf);
    fact("fgetxattr", fgetxattr(fd, "user.overlay.opaque", buf, sizeof buf));
    fact("fsetxattr", fsetxattr(dir, "user.overlay.metacopy", "", 0, 0));
    fact("fremovexattr", fremovexattr(dir, "user.overlay.opaque"));
    attributes_of("of the directory", flistxattr(dir, buf, sizeof buf), buf);
    fact("still there", access("d/one", F_OK));
    close(fd), close(dir);
    int made = open("made", O_CREAT | O_RDWR, 0644);
    fact("fsetxattr of a new file", fsetxattr(made, "user.overlay.whiteout", "", 0, 0));
    attributes_of("of the new file", flistxattr(made, buf, sizeof buf), buf);
    mkdir("e", 0755);
    attributes_of("of a new directory", listxattr("e", buf, sizeof buf), buf);
    close(made), unlink("made"), rmdir("e");
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *what, DIR *d) {
    char *names[400];
    size_t n = 0;
    struct dirent *e;
    while ((e = readdir(d)) && n < 400) names[n++] = strdup(e->d_name);
    qsort(names, n, sizeof *names, by_name);
    printf("%s:", what);
    for (size_t i = 0; i < n; i++) printf(" %s", names[i]), free(names[i]);
    putchar('\n');
}

static void listings(void) {
    int fd = open("d", O_RDONLY | O_DIRECTORY), copy = dup(fd);
    DIR *d = fdopendir(fd);
    list("opened before", d);
    put("d/new", "new", 0644);
    unlink("d/two");
    rewinddir(d), list("rewound", d);
    fact("relative to it", openat(fd, "three", O_RDONLY) < 0 ? -1 : 0);
    fact("gone", faccessat(fd, "two", F_OK, 0));
    fact("made in it", mkdirat(fd, "sub2", 0755));
    fact("removed in it", unlinkat(fd, "three", 0));
    fact("renamed in it", renameat(fd, "one", fd, "uno"));
    lseek(copy, 0, SEEK_SET);
    DIR *again = fdopendir(copy);
    list("a duplicate", again);
    closedir(again);
    rewinddir(d);
    readdir(d), readdir(d);
    long at = telldir(d);
    struct dirent *e = readdir(d);
    char name[300];
    snprintf(name, sizeof name, "%s", e ? e->d_name : "");
    while (readdir(d)) {}
    seekdir(d, at);
    e = readdir(d);
    printf("seekdir goes back: %d\n", e && !strcmp(e->d_name, name));
    fact("fchmod of the directory", fchmod(fd, 0700)), mode_of("d");
    fact("futimens of it", futimens(fd, old_times)), mode_of("d");
    fact("chdir to it", fchdir(fd));
    text_of("uno");
    fact("and back", chdir(".."));
    int tmp = openat(fd, ".", O_TMPFILE | O_RDWR, 0600);
    fact("nameless file", tmp < 0 ? -1 : write(tmp, "tmp", 3));
    fact("named", linkat(AT_FDCWD, self(tmp), fd, "named", AT_SYMLINK_FOLLOW));
    text_of("d/named");
    close(tmp);
    rewinddir(d), list("at the end", d);
    closedir(d);
    fact("not empty", rmdir("d"));
    fact("moved", rename("d/sub2", "moved")), mode_of("moved");
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "many/extra%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    d = opendir("many");
    int seen = 0, deleted = 0;
    while ((e = readdir(d))) {
        seen++;
        if (e->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "many/%s", e->d_name);
        deleted += !unlink(name);
    }
    printf("read while removing: %d, removed %d\n", seen, deleted);
    closedir(d);
    fact("then empty", rmdir("many"));
}

/* Records of getdents64(2) that fit into 100 bytes at a time: how many names there are. */
static int names_left(int fd) {
    char buf[100];
    int n = 0;
    for (long got; (got = syscall(SYS_getdents64, fd, buf, sizeof buf)) > 0;)
        for (long at = 0; at < got; at += *(unsigned short *)(buf + at + 16)) n++;
    return n;
}

/* One open directory that several processes read, or move. */
static void shared_reading(void) {
    char buf[100], name[20];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "d/file%d", i);
        put(name, "", 0644);
    }
    int fd = open("d", O_RDONLY | O_DIRECTORY), before = 0;
    long whole = fact("names", names_left(fd));
    lseek(fd, 0, SEEK_SET);
    for (int i = 0; i < 5; i++)
        for (long got = syscall(SYS_getdents64, fd, buf, sizeof buf), at = 0; at < got; at += *(unsigned short *)(buf + at + 16)) before++;
    pid_t p = fork_clean();
    if (p == 0) _exit(before + names_left(fd) == whole ? 0 : 1);
    int st;
    ok(waitpid(p, &st, 0) == p && st == 0, "a child reads on");
    fact("and nothing is left", names_left(fd));
    p = fork_clean();
    if (p == 0) for (;;) lseek(fd, 0, SEEK_SET), lseek(fd, 0, SEEK_END);
    /* somebody reads it while it is moved; nobody else is told what came of that */
    pid_t q = fork_clean();
    if (q == 0) for (;;) lseek(fd, 0, SEEK_SET), names_left(fd);
    int all = 1;
    for (int i = 0; i < 300; i++) {
        int own = open("d", O_RDONLY | O_DIRECTORY), n = names_left(own);
        if (n != whole) all = 0, printf("# %d names\n", n);
        close(own);
    }
    ok(all, "another description of it is whole");
    kill(p, SIGKILL), kill(q, SIGKILL), waitpid(p, NULL, 0), waitpid(q, NULL, 0);
    close(fd);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "d/file%d", i);
        unlink(name);
    }
}

static void slashes(void) {
    fact("mkdir x/", mkdir("x/", 0755));
    fact("chmod x/", chmod("x/", 0700));
    fact("rename x/ y/", rename("x/", "y/"));
    fact("rmdir y/", rmdir("y/"));
    fact("unlink a/", unlink("a/"));
    fact("unlink d/", unlink("d/"));
    fact("unlink none/", unlink("none/"));
    fact("rmdir a/", rmdir("a/"));
    fact("chmod a/", chmod("a/", 0600));
    fact("utimensat a/", utimensat(AT_FDCWD, "a/", NULL, AT_SYMLINK_NOFOLLOW));
    fact("access a/", access("a/", R_OK));
    fact("rename a/", rename("a/", "z"));
    fact("rename to z/", rename("a", "z/"));
    fact("link to z/", link("a", "z/"));
    fact("link a/", link("a/", "z"));
    fact("symlink z/", symlink("a", "z/"));
    fact("symlink d/", symlink("a", "d/"));
    fact("mknod z/", mknod("z/", S_IFREG | 0600, 0));
    fact_fd("open a/", open("a/", O_RDONLY));
    fact_fd("open d/", open("d/", O_RDONLY));
    fact_fd("open z/", open("z/", O_RDWR | O_CREAT, 0600));
    fact("truncate a/", truncate("a/", 0));
}

static void more(void) {
    int fd = open("tool", O_RDONLY), path = open("tool", O_PATH);
    pid_t c;
    int st;
    if ((c = fork_clean()) == 0) {
        syscall(SYS_execveat, fd, "", (char *[]){"tool", NULL}, environ, AT_EMPTY_PATH);
        _exit(99);
    }
    waitpid(c, &st, 0), printf("execveat of a descriptor: %d\n", WEXITSTATUS(st));
    if ((c = fork_clean()) == 0) {
        syscall(SYS_execveat, path, "", (char *[]){"tool", NULL}, environ, AT_EMPTY_PATH);
        _exit(99);
    }
    waitpid(c, &st, 0), printf("of one with O_PATH: %d\n", WEXITSTATUS(st));
    fact("removed", unlink("tool"));
    if ((c = fork_clean()) == 0) {
        syscall(SYS_execveat, fd, "", (char *[]){"tool", NULL}, environ, AT_EMPTY_PATH);
        _exit(99);
    }
    waitpid(c, &st, 0), printf("execveat after it: %d\n", WEXITSTATUS(st));
    close(fd), close(path);
    fd = open("h1", O_RDONLY);
    fact("chmod of one name", fchmod(fd, 0640)), mode_of("h2");
    write_by("written by the other", "h2", O_WRONLY | O_TRUNC, "H"), text_of("h1");
    close(fd);
    fd = open("link", O_PATH | O_NOFOLLOW);
    fact("chown of a link", fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH));
    fact("open of a held link", open(self(fd), O_RDONLY));
    close(fd);
    fact("exchange", syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 2)), text_of("a"), text_of("c");
    fact("no replace", syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 1));
    fact("access", access("read-only", W_OK) == 0 || errno == EACCES ? 0 : -1);
    fd = open("read-only", O_RDONLY);
    fact("fchmod of a read-only file", fchmod(fd, 0644));
    write_by("written then", "read-only", O_WRONLY | O_APPEND, "!"), text_of("read-only");
    close(fd);
}

/* A pair of names that another thread exchanges all the time. */
static void *exchange(void *stop) {
    while (!*(volatile int *)stop) {
        syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 2);
        rename("b", "b2");
        rename("b2", "b");
        unlink("h1");
        link("h2", "h1");
    }
    return NULL;
}

/* Whatever these answer: none of them may change the host's file behind the descriptor. */
static void all_changes(int fd) {
    char path[64];
    int flags = 0x10 /* FS_IMMUTABLE_FL */ | 0x80;
    struct fsxattr fsx = {.fsx_xflags = 0x40};
    struct { uint64_t a[3]; } attr = {{0x40, 0, 0}};
    fchmod(fd, 0777);
    fchown(fd, 1, 1);
    futimens(fd, old_times);
    fsetxattr(fd, "user.attack", "1", 1, 0);
    fremovexattr(fd, "user.host");
    ioctl(fd, FS_IOC_SETFLAGS, &flags);
    ioctl(fd, FS_IOC_FSSETXATTR, &fsx);
    syscall(469, fd, "", &attr, sizeof attr, AT_EMPTY_PATH);
    syscall(452, fd, "", 0777, AT_EMPTY_PATH);
    fchownat(fd, "", 1, 1, AT_EMPTY_PATH);
    utimensat(fd, "", old_times, AT_EMPTY_PATH);
    syscall(463, fd, "", AT_EMPTY_PATH, "user.attack", &(struct { uint64_t v; uint32_t s, f; }){(uintptr_t)"1", 1, 0}, 16);
    linkat(fd, "", AT_FDCWD, "stolen", AT_EMPTY_PATH);
    for (int i = 0; i < 2; i++) {
        if (i) snprintf(path, sizeof path, "/proc/%d/task/%d/fd/%d", getpid(), getpid(), fd);
        else snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        static const int modes[] = {O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC, 3, O_RDWR | O_APPEND | O_CREAT};
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            int again = open(path, modes[m] | O_NONBLOCK, 0600);
            if (again >= 0) {
                write(again, "ATTACK", 6);
                pwrite(again, "ATTACK", 6, 0);
                ftruncate(again, 1);
                close(again);
            }
        }
        truncate(path, 0);
        chmod(path, 0777);
        chown(path, 1, 1);
        utimensat(AT_FDCWD, path, old_times, 0);
        setxattr(path, "user.attack", "1", 1, 0);
        removexattr(path, "user.host");
        linkat(AT_FDCWD, path, AT_FDCWD, "stolen2", AT_SYMLINK_FOLLOW);
        int stolen = open("stolen2", O_RDWR);
        if (stolen >= 0) write(stolen, "ATTACK", 6), close(stolen);
        unlink("stolen2");
        unlink("stolen");
    }
}

static void attack(void) {
    static const char *const names[] = {"a", "b", "c", "h1", "h2", "read-only", "link", "fifo", "socket", "tool", "d", "d/one", "."};
    static const int flags[] = {O_RDONLY | O_NONBLOCK, O_PATH, O_PATH | O_NOFOLLOW};
    int fds[64], n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
            int fd = open(names[i], flags[f]);
            if (fd >= 0) fds[n++] = fd;
        }
    ok(n > 30, "descriptors: %d", n);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "socket"};
    ok(fails(connect(s, (void *)&to, sizeof to), ECONNREFUSED), "nobody listens in a copy-on-write mount");
    for (int i = 0; i < n; i++) {
        struct stat st;
        if (fstat(fds[i], &st) < 0 || !S_ISSOCK(st.st_mode)) continue;
        snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d", fds[i]);
        ok(connect(s, (void *)&to, sizeof to) < 0, "not by descriptor either");
    }
    close(s);
    /* With threads, while the names move. */
    volatile int stop = 0;
    pthread_t t;
    pthread_create(&t, NULL, exchange, (void *)&stop);
    for (long end = now_us() + 1500000; now_us() < end;)
        for (int i = 0; i < n; i++) all_changes(fds[i]);
    stop = 1;
    pthread_join(t, NULL);
    /* Without their names. */
    rename("a", "a-moved"), rename("d/one", "one-moved"), unlink("b"), unlink("c"), unlink("h1"), unlink("fifo"), unlink("tool");
    put("b", "another", 0600), mkfifo("fifo", 0600);
    for (int i = 0; i < n; i++) all_changes(fds[i]);
    /* By a child, and with the directories gone. */
    pid_t child = fork_clean();
    if (child == 0) {
        for (int i = 0; i < n; i++) all_changes(fds[i]);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    system("rm -rf -- * 2>/dev/null");
    for (int i = 0; i < n; i++) {
        all_changes(fds[i]);
        int fd = openat(fds[i], "born", O_CREAT | O_RDWR, 0600);
        if (fd >= 0) close(fd);
        mkdirat(fds[i], "born-dir", 0700);
        unlinkat(fds[i], "two", 0);
    }
    ok(1, "done");
}

/* Attributes of the format that the host's files have. */
static const char *const formats[] = {"user.overlay.origin", "user.overlay.opaque", "user.overlay.overlay.x"};

static void none_shown(const char *what, ssize_t n, const char *list) {
    ok(n >= 0, "%s: a list", what);
    for (const char *p = list; p < list + n; p += strlen(p) + 1)
        ok(strncmp(p, "user.overlay.", 13) || !strcmp(p, "user.overlay.x"), "%s: %s", what, p);
}

static void hidden_attributes(void) {
    char buf[256];
    static const char *const names[] = {"a", "d"};
    for (int i = 0; i < 2; i++)
        for (int changed = 0; changed < 2; changed++) {
            int fd = open(names[i], O_RDONLY), path = open(names[i], O_PATH);
            none_shown("listxattr", listxattr(names[i], buf, sizeof buf), buf);
            none_shown("flistxattr", flistxattr(fd, buf, sizeof buf), buf);
            none_shown("/proc/self/fd", listxattr(self(path), buf, sizeof buf), buf);
            for (int a = 0; a < 3; a++) {
                ok(fails(getxattr(names[i], formats[a], buf, sizeof buf), ENODATA), "getxattr %s", formats[a]);
                ok(fails(fgetxattr(fd, formats[a], buf, sizeof buf), ENODATA), "fgetxattr %s", formats[a]);
                ok(fails(getxattr(self(path), formats[a], buf, sizeof buf), ENODATA), "through a path %s", formats[a]);
                ok(fails(fremovexattr(fd, formats[a]), ENODATA), "fremovexattr %s", formats[a]);
            }
            ok(fgetxattr(fd, "user.overlay.x", buf, sizeof buf) == 1, "one that was hidden by its name");
            /* Again with the copies. */
            ok(fchmod(fd, 0755) == 0, "changed");
            close(fd), close(path);
        }
}

int main(int argc, char **argv) {
    umask(022);
    if (argc > 1 && !strcmp(argv[1], "prepare")) {
        for (int a = 0; a < 3; a++)
            ok(!setxattr("a", formats[a], "z", 1, 0) && !setxattr("d", formats[a], "z", 1, 0), "prepared");
        return finish();
    }
    if (argc > 1 && !strcmp(argv[1], "hidden")) {
        hidden_attributes();
        return finish();
    }
    if (argc > 1 && !strcmp(argv[1], "attack")) {
        attack();
        return finish();
    }
    if (argc > 1) {
        reopened(O_PATH, "that only names");
        return finish();
    }
    by_descriptor();
    reopened(O_RDONLY, "to read");
    reserved_names();
    slashes();
    listings();
    shared_reading();
    more();
    return finish();
}
