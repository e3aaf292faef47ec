/* files: what path calls do to files, not only how they fail.
 *
 * Creation, modes, renames, links, times, attributes, directory reading, inotify, O_TMPFILE, openat2. Runs in an empty
 * writable directory; every line is a fact that must be the same natively and in sbox. */
#include "check.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <utime.h>

static void mode_of(const char *name, const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0) fact(name, -1);
    else printf("%s: mode %o links %d size %ld\n", name, st.st_mode, (int)st.st_nlink, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size);
}

static void text_of(const char *name, const char *path) {
    char buf[100];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
    if (n < 0) fact(name, -1);
    else printf("%s: \"%.*s\"\n", name, (int)n, buf);
    if (fd >= 0) close(fd);
}

static void creation(void) {
    static const mode_t masks[] = {0, 022, 027, 077, 0777};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        umask(masks[i]);
        close(open("f", O_CREAT | O_RDWR, 0666));
        mkdir("d", 0777);
        mkfifo("p", 0666);
        symlink("x", "l");
        mode_of("open", "f"), mode_of("mkdir", "d"), mode_of("mkfifo", "p"), mode_of("symlink", "l");
        unlink("f"), rmdir("d"), unlink("p"), unlink("l");
    }
    umask(022);
    close(open("setuid", O_CREAT | O_RDWR, 07777));
    mode_of("all mode bits", "setuid");
    mkdir("sticky", 07777);
    mode_of("all mode bits, directory", "sticky");
    mkdir("setgid", 0755);
    chmod("setgid", 02755);
    mkdir("setgid/sub", 0755);
    mode_of("setgid is inherited", "setgid/sub");
    close(open("setgid/f", O_CREAT | O_RDWR, 0644));
    struct stat a, b;
    stat("setgid", &a), stat("setgid/f", &b);
    printf("group inherited: %d\n", a.st_gid == b.st_gid);
    fact_fd("O_CREAT through a dangling link", (symlink("made", "dangling"), open("dangling", O_CREAT | O_RDWR, 0600)));
    mode_of("makes the target", "made");
    fact_fd("O_CREAT O_EXCL on a link", open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
    unlink("made");
    fact_fd("O_CREAT O_NOFOLLOW on a dangling link", open("dangling", O_CREAT | O_NOFOLLOW | O_RDWR, 0600));
    fact_fd("O_CREAT with a trailing slash", open("new/", O_CREAT | O_RDWR, 0600));
    fact_fd("O_CREAT on a directory", open("sticky", O_CREAT | O_RDONLY, 0600));
    fact_fd("O_CREAT O_DIRECTORY", open("newdir", O_CREAT | O_DIRECTORY, 0700));
    mode_of("left nothing", "newdir");
    int fd = open("readonly", O_CREAT | O_RDWR, 0400);
    fact("write to a file made 0400", write(fd, "x", 1));
    close(fd);
    put("f", "0123456789", 0644);
    close(open("f", O_RDONLY | O_TRUNC));
    mode_of("O_RDONLY with O_TRUNC", "f");
    put("f", "0123456789", 0644);
    fd = open("f", O_WRONLY | O_APPEND);
    fact("append", write(fd, "ab", 2));
    fact("position after it", lseek(fd, 0, SEEK_CUR));
    close(fd);
    text_of("then", "f");
    fact_fd("access mode 3", open("f", 3));
    fact_fd("creat", creat("f", 0600));
    mode_of("emptied", "f");
    fact("mknod regular", mknod("n", S_IFREG | 0640, 0));
    fact("mknod socket", mknod("s", S_IFSOCK | 0640, 0));
    mode_of("node", "n"), mode_of("socket", "s");
    fact("mknod directory", mknod("nd", S_IFDIR | 0640, 0));
    fact_fd("open of a socket", open("s", O_RDONLY));
}

static void tmpfile_and_links(void) {
    int fd = open(".", O_TMPFILE | O_RDWR, 0640);
    fact("O_TMPFILE", fd >= 0 ? 0 : -1);
    if (fd < 0) return;
    char self[64];
    write(fd, "temporary", 9);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    fact("linkat through /proc/self/fd", linkat(AT_FDCWD, self, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
    text_of("linked", "linked");
    mode_of("linked", "linked");
    fact("linkat again", linkat(AT_FDCWD, self, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
    close(fd);
    fd = open(".", O_TMPFILE | O_EXCL | O_RDWR, 0600);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    fact("O_EXCL forbids the link", linkat(AT_FDCWD, self, AT_FDCWD, "linked2", AT_SYMLINK_FOLLOW));
    close(fd);
    fact_fd("O_TMPFILE read-only", open(".", O_TMPFILE | O_RDONLY, 0600));
    fact_fd("O_TMPFILE of a file", open("linked", O_TMPFILE | O_RDWR, 0600));

    put("a", "a", 0644);
    fact("link", link("a", "b"));
    mode_of("two names", "b");
    fact("link over a name", link("a", "b"));
    fact("link of a directory", link("sticky", "b2"));
    symlink("a", "toa");
    fact("link of a link", link("toa", "toa2"));
    mode_of("is a link", "toa2");
    fact("linkat following", linkat(AT_FDCWD, "toa", AT_FDCWD, "toa3", AT_SYMLINK_FOLLOW));
    mode_of("is the file", "toa3");
    fact("linkat unknown flag", linkat(AT_FDCWD, "a", AT_FDCWD, "z", 0x8));
    fact("link of nothing", link("absent", "z"));
    fact("unlink one", unlink("b"));
    fd = open("a", O_RDONLY);
    unlink("a"), unlink("toa3");
    struct stat st;
    fstat(fd, &st);
    printf("an unlinked open file: links %d size %ld\n", (int)st.st_nlink, (long)st.st_size);
    char link[PATH_MAX];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(self, link, sizeof link);
    printf("its link ends in (deleted): %d\n", n > 10 && !memcmp(link + n - 10, " (deleted)", 10));
    fact_fd("reopened through /proc/self/fd", open(self, O_RDONLY));
    close(fd);
}

static int renameat2_(const char *a, const char *b, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void renames(void) {
    put("r1", "one", 0644), put("r2", "two", 0644);
    mkdir("rd", 0755), mkdir("rd/in", 0755), mkdir("re", 0755), mkdir("full", 0755);
    put("full/x", "x", 0644);
    fact("onto another", rename("r1", "r2"));
    text_of("r2", "r2"), text_of("r1", "r1");
    fact("onto itself", rename("r2", "r2"));
    link("r2", "r3");
    fact("onto its own other name", rename("r2", "r3"));
    mode_of("both stay", "r2");
    fact("directory into itself", rename("rd", "rd/x"));
    fact("directory into its child", rename("rd", "rd/in/x"));
    fact("onto its ancestor", rename("rd/in", "rd"));
    fact("directory onto a file", rename("rd", "r2"));
    fact("file onto a directory", rename("r2", "rd"));
    fact("directory onto an empty one", rename("rd", "re"));
    fact("directory onto a full one", rename("re", "full"));
    fact("with a trailing slash, directory", rename("re/", "rf/"));
    fact("with a trailing slash, file", rename("r2/", "r4"));
    fact("to a trailing slash, file", rename("r2", "r4/"));
    fact("of .", rename(".", "x"));
    fact("to ..", rename("rf", ".."));
    fact("of rf/.", rename("rf/.", "x"));
    put("n1", "n1", 0644), put("n2", "n2", 0644);
    fact("NOREPLACE onto a name", renameat2_("n1", "n2", 1));
    fact("NOREPLACE onto nothing", renameat2_("n1", "n3", 1));
    fact("EXCHANGE", renameat2_("n2", "n3", 2));
    text_of("n2", "n2"), text_of("n3", "n3");
    fact("EXCHANGE with nothing", renameat2_("n2", "n9", 2));
    fact("EXCHANGE of a file and a directory", renameat2_("n2", "rf", 2));
    fact("EXCHANGE and NOREPLACE", renameat2_("n2", "n3", 3));
    fact("unknown flag", renameat2_("n2", "n3", 64));
    fact("across the view's mounts", rename("n3", "/dev/shm/no"));
    fact("rmdir of a full one", rmdir("full"));
    fact("rmdir of .", rmdir("full/."));
    fact("rmdir of ..", rmdir("full/.."));
    symlink("full", "tofull");
    fact("rmdir of a link", rmdir("tofull"));
    fact("rmdir of a link with a slash", rmdir("tofull/"));
}

static void times_of(const char *name, const char *path) {
    struct stat st;
    lstat(path, &st);
    int fresh = time(NULL) - st.st_atime < 100, fresh_m = time(NULL) - st.st_mtime < 100;
    printf("%s: atime %ld.%ld mtime %ld.%ld\n", name, fresh ? -1 : (long)st.st_atime, fresh ? 0 : st.st_atim.tv_nsec,
           fresh_m ? -1 : (long)st.st_mtime, fresh_m ? 0 : st.st_mtim.tv_nsec);
}

static void metadata(void) {
    put("m", "meta", 0644);
    symlink("m", "ml");
    struct timespec t[2] = {{1000000, 111}, {2000000, 222}};
    fact("utimensat", utimensat(AT_FDCWD, "m", t, 0));
    times_of("set", "m");
    struct timespec o[2] = {{0, UTIME_OMIT}, {3000000, 333}};
    fact("UTIME_OMIT", utimensat(AT_FDCWD, "m", o, 0));
    times_of("one kept", "m");
    struct timespec w[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    fact("UTIME_NOW", utimensat(AT_FDCWD, "m", w, 0));
    times_of("one now", "m");
    fact("NULL", utimensat(AT_FDCWD, "m", NULL, 0));
    times_of("both now", "m");
    fact("through a link", utimensat(AT_FDCWD, "ml", t, 0));
    times_of("the file", "m");
    fact("of the link", utimensat(AT_FDCWD, "ml", o, AT_SYMLINK_NOFOLLOW));
    struct timespec bad[2] = {{0, 2000000000}, {0, 0}};
    fact("bad nanoseconds", utimensat(AT_FDCWD, "m", bad, 0));
    fact("bad flag", utimensat(AT_FDCWD, "m", t, 0x8));
    struct utimbuf u = {5, 6};
    fact("utime", utime("m", &u));
    times_of("utime", "m");
    int fd = open("m", O_RDWR);
    fact("futimens", futimens(fd, t));
    times_of("futimens", "m");
    fact("fchmod", fchmod(fd, 0751));
    mode_of("fchmod", "m");
    fact("chmod through a link", chmod("ml", 0640));
    mode_of("chmod", "m");
    fact("fchmodat nofollow on a file", syscall(452, AT_FDCWD, "m", 0600, AT_SYMLINK_NOFOLLOW));
    fact("fchmodat nofollow on a link", syscall(452, AT_FDCWD, "ml", 0600, AT_SYMLINK_NOFOLLOW));
    fact("chown to oneself", chown("m", getuid(), getgid()));
    fact("chown to nobody in particular", chown("m", -1, -1));
    fact("lchown of a link", lchown("ml", getuid(), -1));
    fact("fchownat empty path", fchownat(fd, "", getuid(), -1, AT_EMPTY_PATH));
    chmod("m", 04755);
    fact("chown clears setuid", chown("m", getuid(), getgid()));
    mode_of("cleared", "m");
    fact("ftruncate", ftruncate(fd, 100));
    fact("truncate", truncate("m", 2));
    fact("truncate negative", truncate("m", -1));
    fact("truncate a directory", truncate(".", 0));
    text_of("truncated", "m");
    fact("fallocate", fallocate(fd, 0, 0, 50));
    mode_of("allocated", "m");
    fact("flock", flock(fd, LOCK_EX));
    close(fd);

    char buf[100];
    fact("setxattr", setxattr("m", "user.one", "1234", 4, 0));
    fact("setxattr XATTR_CREATE again", setxattr("m", "user.one", "5", 1, XATTR_CREATE));
    fact("setxattr XATTR_REPLACE of none", setxattr("m", "user.two", "5", 1, XATTR_REPLACE));
    fact("getxattr", getxattr("m", "user.one", buf, sizeof buf));
    fact("getxattr size", getxattr("m", "user.one", NULL, 0));
    fact("getxattr short", getxattr("m", "user.one", buf, 2));
    fact("getxattr of none", getxattr("m", "user.none", buf, sizeof buf));
    fact("getxattr, bad name", getxattr("m", "one", buf, sizeof buf));
    fact("listxattr", listxattr("m", buf, sizeof buf));
    fact("lsetxattr user. on a link", lsetxattr("ml", "user.one", "1", 1, 0));
    fact("lgetxattr of a link", lgetxattr("ml", "user.one", buf, sizeof buf));
    fact("removexattr", removexattr("ml", "user.one"));
    fact("removexattr again", removexattr("m", "user.one"));

    struct statx sx;
    memset(&sx, 0xaa, sizeof sx);
    fact("statx", statx(AT_FDCWD, "m", 0, STATX_BASIC_STATS, &sx));
    printf("statx size %llu mode %o basic %d\n", (unsigned long long)sx.stx_size, sx.stx_mode, (sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    fact("statx reserved bit", statx(AT_FDCWD, "m", 0, 0x80000000, &sx));
    fact("statx both syncs", statx(AT_FDCWD, "m", AT_STATX_SYNC_TYPE, STATX_SIZE, &sx));
    fact("statx nofollow", statx(AT_FDCWD, "ml", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &sx));
    printf("is a link %d\n", S_ISLNK(sx.stx_mode));
    struct stat st, fst;
    fd = open("m", O_RDONLY);
    stat("m", &st), fstat(fd, &fst);
    statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx);
    printf("stat, fstat and statx agree: %d\n", st.st_ino == fst.st_ino && st.st_dev == fst.st_dev && sx.stx_ino == st.st_ino &&
           makedev(sx.stx_dev_major, sx.stx_dev_minor) == st.st_dev);
    close(fd);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *name, DIR *d) {
    char *names[300];
    int n = 0;
    for (struct dirent *e; n < 300 && (e = readdir(d));) names[n++] = strdup(e->d_name);
    qsort(names, n, sizeof *names, by_name);
    printf("%s: %d", name, n);
    for (int i = 0; i < n && i < 8; i++) printf(" %s", names[i]);
    putchar('\n');
    for (int i = 0; i < n; i++) free(names[i]);
}

static void directories(void) {
    mkdir("ls", 0755);
    char path[64];
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "ls/entry-%03d", i);
        put(path, "", 0644);
    }
    DIR *d = opendir("ls");
    list("all", d);
    list("at the end", d);
    rewinddir(d);
    list("rewound", d);
    rewinddir(d);
    long pos = 0;
    for (int i = 0; i < 100; i++) { readdir(d); if (i == 49) pos = telldir(d); }
    char *there, *again;
    seekdir(d, pos);
    there = strdup(readdir(d)->d_name);
    seekdir(d, pos);
    again = readdir(d)->d_name;
    printf("seekdir comes back: %d\n", !strcmp(there, again));
    free(there);
    rewinddir(d);
    int removed = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] == 'e') { unlinkat(dirfd(d), e->d_name, 0); removed++; }
    printf("removed while reading: %d\n", removed);
    closedir(d);
    fact("so it is empty", rmdir("ls"));

    mkdir("odd", 0755);
    static const char *const odd[] = {"\xff\xfe\xfd", "new\nline", " ", "...", "\\", "*", "-rf", "\xc3\xa4", "tab\t"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(path, sizeof path, "odd/%s", odd[i]);
        put(path, odd[i], 0644);
    }
    d = opendir("odd");
    int n = 0, same = 0;
    for (struct dirent *e; (e = readdir(d));) {
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) same += !strcmp(e->d_name, odd[i]);
        n++;
    }
    printf("odd names: %d entries, %d as written\n", n, same);
    closedir(d);
    char buf[64];
    int fd = open("odd", O_RDONLY | O_DIRECTORY);
    fact("getdents64, buffer too small", syscall(SYS_getdents64, fd, buf, 1));
    fact("getdents64, bad buffer", syscall(SYS_getdents64, fd, (void *)8, 1000));
    close(fd);
    fd = open("m", O_RDONLY);
    fact("getdents64 of a file", syscall(SYS_getdents64, fd, buf, sizeof buf));
    close(fd);
    d = opendir("odd");
    int types = 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW);
        types += strcmp(e->d_name, "..") && st.st_ino != e->d_ino;
    }
    printf("inode numbers that differ from stat: %d\n", types);
    closedir(d);
}

static void watches(void) {
    mkdir("w", 0755);
    int in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), wd = inotify_add_watch(in, "w", IN_ALL_EVENTS);
    fact("inotify_add_watch", wd);
    fact("of nothing", inotify_add_watch(in, "absent", IN_CREATE));
    fact("IN_ONLYDIR of a file", inotify_add_watch(in, "m", IN_CREATE | IN_ONLYDIR));
    fact("no events", inotify_add_watch(in, "w", 0));
    put("w/x", "text", 0644);
    rename("w/x", "w/y");
    unlink("w/y");
    rmdir("w");
    char buf[4096];
    uint32_t seen = 0;
    for (ssize_t n; poll(&(struct pollfd){in, POLLIN, 0}, 1, 200) > 0 && (n = read(in, buf, sizeof buf)) > 0;)
        for (char *p = buf; p < buf + n; p += sizeof(struct inotify_event) + ((struct inotify_event *)p)->len)
            seen |= ((struct inotify_event *)p)->mask;
    static const uint32_t want = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF;
    printf("events seen: %x of %x\n", seen & want, want);
    close(in);
}

static int openat2_(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size) {
    struct { struct open_how how; uint64_t more; } h = {{flags, mode, resolve}, size > sizeof(struct open_how) + 8};
    return syscall(SYS_openat2, dir, path, &h, size > sizeof h ? sizeof h : size);
}

static void how_forms(void) {
    enum { S = sizeof(struct open_how) };
    mkdir("o", 0755);
    put("o/f", "f", 0644);
    symlink("f", "o/l"), symlink("../m", "o/out"), symlink("/etc/passwd", "o/abs"), symlink("/proc/self/cwd/m", "o/magic");
    int dir = open("o", O_RDONLY | O_DIRECTORY);
    fact_fd("openat2", openat2_(dir, "f", O_RDONLY, 0, 0, S));
    fact_fd("openat2, mode without O_CREAT", openat2_(dir, "f", O_RDONLY, 0644, 0, S));
    fact_fd("openat2, unknown flag", openat2_(dir, "f", 1ULL << 40, 0, 0, S));
    fact_fd("openat2, unknown resolve", openat2_(dir, "f", O_RDONLY, 0, 1 << 20, S));
    fact_fd("openat2, small size", openat2_(dir, "f", O_RDONLY, 0, 0, 8));
    fact_fd("openat2, larger size, zeros", openat2_(dir, "f", O_RDONLY, 0, 0, S + 8));
    fact_fd("openat2, larger size, not zeros", openat2_(dir, "f", O_RDONLY, 0, 0, S + 16));
    fact_fd("NO_SYMLINKS, file", openat2_(dir, "f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, S));
    fact_fd("NO_SYMLINKS, link", openat2_(dir, "l", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, S));
    fact_fd("NO_MAGICLINKS, link", openat2_(dir, "l", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS, S));
    fact_fd("NO_MAGICLINKS, magic link", openat2_(dir, "magic", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS, S));
    fact_fd("BENEATH, file", openat2_(dir, "f", O_RDONLY, 0, RESOLVE_BENEATH, S));
    fact_fd("BENEATH, ..", openat2_(dir, "../m", O_RDONLY, 0, RESOLVE_BENEATH, S));
    fact_fd("BENEATH, link out", openat2_(dir, "out", O_RDONLY, 0, RESOLVE_BENEATH, S));
    fact_fd("BENEATH, absolute", openat2_(dir, "/etc/passwd", O_RDONLY, 0, RESOLVE_BENEATH, S));
    fact_fd("BENEATH, absolute link", openat2_(dir, "abs", O_RDONLY, 0, RESOLVE_BENEATH, S));
    fact_fd("IN_ROOT, ..", openat2_(dir, "../f", O_RDONLY, 0, RESOLVE_IN_ROOT, S));
    fact_fd("IN_ROOT, absolute", openat2_(dir, "/f", O_RDONLY, 0, RESOLVE_IN_ROOT, S));
    fact_fd("IN_ROOT, absolute link", openat2_(dir, "abs", O_RDONLY, 0, RESOLVE_IN_ROOT, S));
    fact_fd("IN_ROOT and BENEATH", openat2_(dir, "f", O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH, S));
    fact_fd("openat2 O_CREAT", openat2_(dir, "made", O_CREAT | O_RDWR, 0640, RESOLVE_BENEATH, S));
    mode_of("made", "o/made");
    close(dir);
}

static void data_plane(void) {
    int fd = open("data", O_CREAT | O_RDWR, 0644);
    char *p = (ftruncate(fd, 8192), mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    fact("mmap", p == MAP_FAILED ? -1 : 0);
    strcpy(p, "through memory");
    char buf[32] = "";
    fact("pread sees it", pread(fd, buf, 14, 0));
    puts(buf);
    int out = open("copy", O_CREAT | O_RDWR, 0644);
    off_t off = 0;
    fact("sendfile", sendfile(out, fd, &off, 14));
    fact("copy_file_range", copy_file_range(fd, &(off_t){0}, out, &(off_t){20}, 14, 0));
    mode_of("copy", "copy");
    struct flock lk = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    fact("lock", fcntl(fd, F_SETLK, &lk));
    pid_t c = fork_clean();
    if (c == 0) { fact("lock of another process", fcntl(fd, F_SETLK, &lk)); _exit(0); }
    waitpid(c, NULL, 0);
    fact("dup2", dup2(fd, 50));
    fact("fcntl F_GETFL accmode", fcntl(50, F_GETFL) & O_ACCMODE);
    fact("syncfs", syncfs(fd));
    struct statvfs sv;
    fact("fstatvfs", fstatvfs(fd, &sv));
    close(50), close(fd), close(out);
    munmap(p, 8192);
}

/* What only a descriptor led to, and flags that nobody asked for. */
static void held(void) {
    char cwd[PATH_MAX];
    mkdir("u1", 0755), mkdir("u1/u2", 0755);
    int under = open("u1/u2", O_PATH | O_DIRECTORY), back = open(".", O_RDONLY | O_DIRECTORY);
    fact("flags of a path", fcntl(under, F_GETFL));
    fact("flags of a directory", fcntl(back, F_GETFL));
    fact("into a directory", fchdir(under));
    fact("moved under us", renameat(back, "u1/u2", back, "u3"));
    printf("its name: %s\n", getcwd(cwd, sizeof cwd) ? strrchr(cwd, '/') + 1 : errname(errno));
    fact("above it", access("../u1", F_OK));
    fact("back", fchdir(back));
    fact("a whiteout", mknod("w", S_IFCHR | 0600, 0));
    fact("open a whiteout", open("w", O_RDONLY));
    fact("leave a whiteout", syscall(SYS_renameat2, AT_FDCWD, "u3", AT_FDCWD, "u4", 4));
    mode_of("in its place", "u3");
    int fd = open("flags", O_RDWR | O_CREAT | O_APPEND, 0644);
    fact("flags of a file", fcntl(fd, F_GETFL));
    fact("a directory that isn't there", open("none/flags/", O_WRONLY | O_CREAT, 0644));
    symlink("u5/", "u6");
    fact("through a link with a slash", open("u6", O_WRONLY | O_CREAT, 0644));
    close(fd), close(under), close(back);
}

int main(void) {
    syscall(SYS_close_range, 3, ~0U, 0);
    creation();
    tmpfile_and_links();
    renames();
    metadata();
    directories();
    watches();
    how_forms();
    data_plane();
    held();
    return finish();
}
