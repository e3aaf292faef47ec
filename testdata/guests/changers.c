/* changers: every call that could change a file, tried in every way on a read-only mount.
 *
 *   changers prepare TOP    makes TOP/ro and TOP/rw
 *   changers look TOP       tells all that there is to know about what lies in TOP/ro
 *   changers try TOP        makes the calls; prints "CALL, WAY: RESULT" for each, CALL being its name in the kernel
 *   changers jail TOP       the same, natively: with TOP/ro bound read-only, nothing else in reach, no capabilities
 *
 * The caller runs "try" in sbox and "jail" outside and compares what they print, and what "look" says before and after.
 * Access times are left out: whoever may read a file may change them. */
#include "check.h"
#include "jail.h"
#include <dirent.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))
/* Younger than some C libraries. */
enum { FCHMODAT2 = 452, SETXATTRAT = 463, REMOVEXATTRAT = 466, FILE_SETATTR = 469 };
#define SYS_fchmodat2_ FCHMODAT2
#define SYS_setxattrat_ SETXATTRAT
#define SYS_removexattrat_ REMOVEXATTRAT
#define SYS_file_setattr_ FILE_SETATTR

struct xattr_args_ { uint64_t value; uint32_t size, flags; };
struct file_attr_ { uint64_t xflags; uint32_t extsize, nextents, projid, cowextsize; };

static char top[PATH_MAX], ro[2048], rw[2048];

static void said(const char *call, const char *way, const char *how, long r) {
    int e = errno;
    printf("%s, %s%s%s: %s\n", call, way, *how ? ", " : "", how, r == -1 ? errname(e) : "done");
}

/* A call by its number; a descriptor that it gives is closed. */
#define TRY(name, way, how, ...) said(#name, way, how, syscall(SYS_##name, __VA_ARGS__))
#define TRY_NEW(name, way, how, ...) said(#name, way, how, syscall(SYS_##name##_, __VA_ARGS__))
#define TRY_OPEN(name, way, how, ...)                                                                \
    do {                                                                                             \
        long fd_ = syscall(SYS_##name, __VA_ARGS__);                                                 \
        said(#name, way, how, fd_);                                                                  \
        if (fd_ >= 0) close(fd_);                                                                    \
    } while (0)

static const int open_flags[] = {
    O_WRONLY, O_RDWR, O_ACCMODE, O_RDONLY | O_TRUNC, O_ACCMODE | O_TRUNC, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND, O_WRONLY | O_DIRECT,
    O_RDONLY | O_CREAT, O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_TRUNC, O_RDONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_EXCL,
    O_TMPFILE | O_RDWR, O_TMPFILE | O_WRONLY | O_EXCL, O_WRONLY | O_NOFOLLOW, O_RDWR | O_NOFOLLOW | O_TRUNC, O_RDWR | O_DIRECTORY,
    O_PATH | O_RDWR | O_TRUNC, O_PATH | O_CREAT,
};
static const struct timespec times[][2] = {
    {{1, 0}, {2, 0}}, {{0, UTIME_NOW}, {0, UTIME_NOW}}, {{0, UTIME_OMIT}, {2, 0}}, {{0, UTIME_OMIT}, {0, UTIME_OMIT}}};
static const struct timeval utimes_[2] = {{1, 0}, {2, 0}};
static struct xattr_args_ xargs = {(uintptr_t) "value", 5, 0};
static struct file_attr_ fattr = {.xflags = 0x80};
static const char *const xnames[] = {"user.new", "user.kept", "trusted.x", "security.x", "system.posix_acl_access", "nothing.x"};

static char *text(char *buf, const char *fmt, int n) {
    snprintf(buf, 64, fmt, n);
    return buf;
}

static const char *flags_text(char *buf, int flags) {
    snprintf(buf, 64, "flags %#o", flags);
    return buf;
}

/* The calls that name one file, by a directory and a path. */
static void by_name(const char *way, int dir, const char *path) {
    char how[64], new_name[PATH_MAX];
    int plain = dir == AT_FDCWD;
    struct { uint64_t flags, mode, resolve; } oh = {0};
    for (int i = 0; i < COUNT(open_flags); i++) {
        int f = open_flags[i] | O_NONBLOCK * !(open_flags[i] & O_PATH);
        flags_text(how, open_flags[i]);
        TRY_OPEN(openat, way, how, dir, path, f, 0600);
        if (plain) TRY_OPEN(open, way, how, path, f, 0600);
        oh.flags = f, oh.mode = f & O_CREAT || (f & O_TMPFILE) == O_TMPFILE ? 0600 : 0;
        TRY_OPEN(openat2, way, how, dir, path, &oh, sizeof oh);
    }
    static const mode_t kinds[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR};
    for (int i = 0; i < COUNT(kinds); i++) {
        TRY(mknodat, way, text(how, "kind %#o", kinds[i]), dir, path, kinds[i] | 0600, makedev(1, 3));
        if (plain) TRY(mknod, way, how, path, kinds[i] | 0600, makedev(1, 3));
    }
    TRY(mknodat, way, "whiteout", dir, path, S_IFCHR, 0);
    TRY(mkdirat, way, "", dir, path, 0700);
    TRY(symlinkat, way, "", "text", dir, path);
    TRY(unlinkat, way, "", dir, path, 0);
    TRY(unlinkat, way, "AT_REMOVEDIR", dir, path, AT_REMOVEDIR);
    TRY(fchmodat, way, "", dir, path, 0600);
    for (int nofollow = 0; nofollow < 2; nofollow++) {
        int f = nofollow ? AT_SYMLINK_NOFOLLOW : 0;
        const char *n = nofollow ? "nofollow" : "";
        TRY_NEW(fchmodat2, way, n, dir, path, 0600, f);
        TRY(fchownat, way, n, dir, path, getuid(), getgid(), f);
        TRY(fchownat, way, nofollow ? "as it is, nofollow" : "as it is", dir, path, -1, -1, f);
        for (int i = 0; i < COUNT(times); i++) {
            snprintf(how, sizeof how, "times %d%s%s", i, *n ? ", " : "", n);
            TRY(utimensat, way, how, dir, path, times[i], f);
        }
        TRY(utimensat, way, nofollow ? "now, nofollow" : "now", dir, path, NULL, f);
        for (int i = 0; i < COUNT(xnames); i++) {
            snprintf(how, sizeof how, "%s%s%s", xnames[i], *n ? ", " : "", n);
            TRY_NEW(setxattrat, way, how, dir, path, f, xnames[i], &xargs, sizeof xargs);
            TRY_NEW(removexattrat, way, how, dir, path, f, xnames[i]);
            if (!plain) continue;
            if (nofollow) TRY(lsetxattr, way, xnames[i], path, xnames[i], "value", 5, 0), TRY(lremovexattr, way, xnames[i], path, xnames[i]);
            else TRY(setxattr, way, xnames[i], path, xnames[i], "value", 5, 0), TRY(removexattr, way, xnames[i], path, xnames[i]);
        }
        TRY_NEW(file_setattr, way, n, dir, path, &fattr, sizeof fattr, f);
        TRY(faccessat2, way, nofollow ? "W_OK, nofollow" : "W_OK", dir, path, W_OK, f);
    }
    TRY(faccessat, way, "W_OK", dir, path, W_OK);
    TRY(futimesat, way, "", dir, path, utimes_);
    TRY(futimesat, way, "now", dir, path, NULL);
    for (int flags = 0; flags < 8; flags++) {
        TRY(renameat2, way, text(how, "away, flags %d", flags), dir, path, AT_FDCWD, "elsewhere", flags);
        TRY(renameat2, way, text(how, "onto, flags %d", flags), AT_FDCWD, "file", dir, path, flags);
        snprintf(new_name, sizeof new_name, "%s/out", rw);
        TRY(renameat2, way, text(how, "out, flags %d", flags), dir, path, AT_FDCWD, new_name, flags);
        snprintf(new_name, sizeof new_name, "%s/mine", rw);
        TRY(renameat2, way, text(how, "in, flags %d", flags), AT_FDCWD, new_name, dir, path, flags);
    }
    TRY(renameat, way, "away", dir, path, AT_FDCWD, "elsewhere");
    TRY(renameat, way, "onto", AT_FDCWD, "file", dir, path);
    for (int f = 0; f <= AT_SYMLINK_FOLLOW; f += AT_SYMLINK_FOLLOW) {
        const char *follow = f ? ", follow" : "";
        snprintf(how, sizeof how, "of it%s", follow);
        TRY(linkat, way, how, dir, path, AT_FDCWD, "elsewhere", f);
        snprintf(how, sizeof how, "to it%s", follow);
        TRY(linkat, way, how, AT_FDCWD, "file", dir, path, f);
        snprintf(how, sizeof how, "out%s", follow), snprintf(new_name, sizeof new_name, "%s/out", rw);
        TRY(linkat, way, how, dir, path, AT_FDCWD, new_name, f);
        snprintf(how, sizeof how, "in%s", follow), snprintf(new_name, sizeof new_name, "%s/mine", rw);
        TRY(linkat, way, how, AT_FDCWD, new_name, dir, path, f);
    }
    if (!plain) return;
    if (strcmp(path, "fifo")) TRY_OPEN(creat, way, "", path, 0600); /* natively it would wait for a reader */
    TRY(truncate, way, "", path, 0);
    TRY(truncate, way, "longer", path, 100000);
    TRY(mkdir, way, "", path, 0700);
    TRY(rmdir, way, "", path);
    TRY(unlink, way, "", path);
    TRY(symlink, way, "", "text", path);
    TRY(link, way, "of it", path, "elsewhere");
    TRY(link, way, "to it", "file", path);
    TRY(rename, way, "away", path, "elsewhere");
    TRY(rename, way, "onto", "file", path);
    TRY(chmod, way, "", path, 0600);
    TRY(chown, way, "", path, getuid(), getgid());
    TRY(lchown, way, "", path, getuid(), getgid());
    TRY(utime, way, "", path, utimes_);
    TRY(utime, way, "now", path, NULL);
    TRY(utimes, way, "", path, utimes_);
    TRY(access, way, "W_OK", path, W_OK);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) < sizeof a.sun_path) {
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        strcpy(a.sun_path, path);
        TRY(bind, way, "", s, &a, sizeof a);
        close(s);
    }
}

/* The calls on a descriptor that was opened for reading, or not at all (O_PATH). */
static void by_descriptor(const char *way, int fd) {
    char how[64], out[PATH_MAX + 16];
    struct iovec iov = {"x", 1};
    struct { uint64_t flags, mode, resolve; } oh = {0};
    snprintf(out, sizeof out, "%s/mine", rw);
    int mine = open(out, O_RDONLY), p[2];
    snprintf(out, sizeof out, "%s/out", rw);
    pipe(p), write(p[1], "text", 4);
    off_t at = 0;
    TRY(write, way, "", fd, "x", 1);
    TRY(pwrite64, way, "", fd, "x", 1, 0);
    TRY(writev, way, "", fd, &iov, 1);
    TRY(pwritev, way, "", fd, &iov, 1, 0, 0);
    TRY(pwritev2, way, "", fd, &iov, 1, 0, 0, 0);
    TRY(pwritev2, way, "appending", fd, &iov, 1, 0, 0, 0x10);
    TRY(ftruncate, way, "", fd, 0);
    TRY(ftruncate, way, "longer", fd, 100000);
    for (int mode = 0; mode < 0x80; mode = mode ? mode << 1 : 1) {
        TRY(fallocate, way, text(how, "mode %#x", mode), fd, mode, 0, 4096);
        TRY(fallocate, way, text(how, "mode %#x", mode | 1), fd, mode | 1, 0, 4096);
    }
    TRY(sendfile, way, "into it", fd, mine, &at, 1);
    TRY(splice, way, "into it", p[0], NULL, fd, &at, 1, 0);
    TRY(copy_file_range, way, "into it", mine, NULL, fd, &at, 1, 0);
    TRY(tee, way, "into it", p[0], fd, 1, 0);
    for (int m = 0; m < 2; m++) {
        int flags = m ? MAP_SHARED_VALIDATE : MAP_SHARED;
        char *map = (char *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, flags, fd, 0L);
        said("mmap", way, m ? "writable, validated" : "writable", map == MAP_FAILED ? -1 : 0);
        map = mmap(NULL, 4096, PROT_READ, flags, fd, 0);
        if (map == MAP_FAILED) continue;
        TRY(mprotect, way, "later", map, 4096, PROT_READ | PROT_WRITE);
        TRY(pkey_mprotect, way, "later", map, 4096, PROT_READ | PROT_WRITE, -1);
        TRY(madvise, way, "MADV_REMOVE", map, 4096, MADV_REMOVE);
        TRY(madvise, way, "MADV_POPULATE_WRITE", map, 4096, 23);
        TRY(msync, way, "", map, 4096, MS_SYNC);
        said("mremap", way, "", mremap(map, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    }
    aio_context_t aio = 0;
    if (syscall(SYS_io_setup, 1, &aio) == 0) {
        struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd, .aio_buf = (uintptr_t) "x", .aio_nbytes = 1}, *cbs = &cb;
        TRY(io_submit, way, "", aio, 1, &cbs);
        syscall(SYS_io_destroy, aio);
    }
    TRY(fchmod, way, "", fd, 0600);
    TRY(fchown, way, "", fd, getuid(), getgid());
    TRY(fchown, way, "as it is", fd, -1, -1);
    for (int i = 0; i < COUNT(times); i++) TRY(utimensat, way, text(how, "itself, times %d", i), fd, NULL, times[i], 0);
    TRY(utimensat, way, "itself, now", fd, NULL, NULL, 0);
    TRY(futimesat, way, "itself", fd, NULL, utimes_);
    for (int i = 0; i < COUNT(xnames); i++) {
        TRY(fsetxattr, way, xnames[i], fd, xnames[i], "value", 5, 0);
        TRY(fremovexattr, way, xnames[i], fd, xnames[i]);
    }
    /* an empty path */
    for (int null = 0; null < 2; null++) {
        const char *e = null ? NULL : "", *n = null ? "NULL path" : "empty path";
        int f = AT_EMPTY_PATH;
        TRY_NEW(fchmodat2, way, n, fd, e, 0600, f);
        TRY(fchownat, way, n, fd, e, getuid(), getgid(), f);
        TRY(utimensat, way, null ? "NULL path, now" : "empty path, now", fd, e, NULL, f);
        TRY_NEW(setxattrat, way, n, fd, e, f, "user.new", &xargs, sizeof xargs);
        TRY_NEW(removexattrat, way, n, fd, e, f, "user.kept");
        TRY_NEW(file_setattr, way, n, fd, e, &fattr, sizeof fattr, f);
        if (null) continue;
        TRY(faccessat2, way, n, fd, e, W_OK, f);
        TRY(linkat, way, "empty path, out", fd, e, AT_FDCWD, out, f);
        TRY(linkat, way, "empty path, beside", fd, e, AT_FDCWD, "elsewhere", f);
        TRY_OPEN(openat, way, n, fd, e, O_RDWR, 0);
        oh.flags = O_RDWR;
        TRY_OPEN(openat2, way, n, fd, e, &oh, sizeof oh);
    }
    int number = 0x80;
    struct fsxattr fsx = {.fsx_xflags = 0x40};
    struct { int64_t src; uint64_t so, len, to; } range = {mine, 0, 0, 0};
    struct { uint64_t offset, len; uint16_t count, r1; uint32_t r2; struct { int64_t fd; uint64_t at, done; int32_t status; uint32_t r; } info; }
        dedupe = {0, 1, 1, 0, 0, {fd, 0, 0, 0, 0}};
    struct { uint32_t version, algorithm, block, salt_size; uint64_t salt; uint32_t sig, r1; uint64_t sigp, r2[11]; } verity = {1, 1, 4096, 0, 0, 0, 0, 0, {0}};
    struct { int16_t type, whence; int64_t start, len; int32_t sysid; uint32_t pid, pad[4]; } space = {0, 0, 0, 4096, 0, 0, {0}};
    TRY(ioctl, way, "FS_IOC_SETFLAGS", fd, FS_IOC_SETFLAGS, &number);
    TRY(ioctl, way, "FS_IOC_SETFLAGS, upper bits", fd, FS_IOC_SETFLAGS | 1UL << 32, &number);
    TRY(ioctl, way, "FS_IOC_SETVERSION", fd, FS_IOC_SETVERSION, &number);
    TRY(ioctl, way, "FS_IOC_FSSETXATTR", fd, FS_IOC_FSSETXATTR, &fsx);
    TRY(ioctl, way, "FICLONE", fd, FICLONE, mine);
    TRY(ioctl, way, "FICLONERANGE", fd, FICLONERANGE, &range);
    TRY(ioctl, way, "FIDEDUPERANGE", mine, 0xc0189436UL, &dedupe);
    TRY(ioctl, way, "FS_IOC_ENABLE_VERITY", fd, 0x40806685UL, &verity);
    TRY(ioctl, way, "FS_IOC_SET_ENCRYPTION_POLICY", fd, 0x800c6613UL, &verity);
    TRY(ioctl, way, "FS_IOC_RESVSP", fd, 0x40305828UL, &space);
    TRY(ioctl, way, "FS_IOC_ZERO_RANGE", fd, 0x40305839UL, &space);
    close(mine), close(p[0]), close(p[1]);
}

/* Names for a descriptor: each may be opened again, and changed by path. */
static void by_link(const char *way, int fd) {
    static const char *const forms[] = {"/proc/self/fd/%d", "/proc/thread-self/fd/%d"};
    char path[64], name[192];
    for (int i = 0; i < COUNT(forms); i++) {
        snprintf(name, sizeof name, "%s by %s", way, forms[i]);
        for (char *c = name; *c; c++) if (*c == '%') *c = '#';
        snprintf(path, sizeof path, forms[i], fd);
        by_name(name, AT_FDCWD, path);
    }
}

static void try_all(void) {
    static const char *const names[] = {"file", "link", "dangling", "absent", "absent/", "dangling/", "sub", "sub/", "sub/inner", "sub/..", "sub/.", ".",
        "dirlink", "dirlink/", "dirlink/inner", "frozen", "locked", "locked/inner", "locked/absent", "absent/below", "file/below", "fifo",
        "sub/../file", "/proc/self/cwd/file", "/proc/self/cwd/absent", "/proc/self/cwd"};
    char path[PATH_MAX + 64];
    check(chdir(ro) == 0, ro);
    for (int i = 0; i < COUNT(names); i++) by_name(names[i], AT_FDCWD, names[i]);
    snprintf(path, sizeof path, "%s/file", ro), by_name("absolute", AT_FDCWD, path);
    snprintf(path, sizeof path, "/proc/self/root%s/file", ro), by_name("/proc/self/root", AT_FDCWD, path);
    int sub = open("sub", O_RDONLY | O_DIRECTORY), sub_path = open("sub", O_PATH), dot = open(".", O_RDONLY);
    int file = open("file", O_RDONLY), path_only = open("file", O_PATH), link = open("link", O_PATH | O_NOFOLLOW);
    int frozen = open("frozen", O_RDONLY), fifo = open("fifo", O_RDONLY | O_NONBLOCK);
    check(sub >= 0 && sub_path >= 0 && dot >= 0 && file >= 0 && path_only >= 0 && link >= 0 && frozen >= 0 && fifo >= 0, "open");
    by_name("inner below a descriptor", sub, "inner");
    by_name("inner below an O_PATH descriptor", sub_path, "inner");
    by_name("absent below a descriptor", sub, "absent");
    by_name("file above a descriptor", sub, "../file");
    by_name("below a file's descriptor", file, "x");
    by_name("by a wrong descriptor", 999, "file");
    snprintf(path, sizeof path, "/proc/self/fd/%d/inner", sub), by_name("inner by /proc/self/fd", AT_FDCWD, path);
    snprintf(path, sizeof path, "/proc/self/fd/%d/../file", sub_path), by_name("file by /proc/self/fd", AT_FDCWD, path);
    struct { const char *name; int fd; } fds[] = {{"descriptor", file}, {"O_PATH descriptor", path_only}, {"link's descriptor", link},
        {"directory's descriptor", sub}, {"O_PATH of a directory", sub_path}, {"frozen file's descriptor", frozen}, {"fifo's descriptor", fifo},
        {"working directory", AT_FDCWD}, {"wrong descriptor", 999}};
    for (int i = 0; i < COUNT(fds); i++) {
        by_descriptor(fds[i].name, fds[i].fd);
        if (fds[i].fd >= 0 && fds[i].fd != 999) by_link(fds[i].name, fds[i].fd);
    }
}

static void prepare(void) {
    char out[PATH_MAX + 16];
    check(mkdir(ro, 0755) == 0 && mkdir(rw, 0755) == 0 && chdir(ro) == 0, "mkdir");
    umask(022);
    put("file", "content of the file\n", 0644), put("frozen", "frozen\n", 0444);
    check(mkdir("sub", 0755) == 0 && mkdir("locked", 0755) == 0, "mkdir");
    put("sub/inner", "inner\n", 0644), put("locked/inner", "inner\n", 0644);
    check(chmod("locked", 0555) == 0 && mkfifo("fifo", 0644) == 0, "locked");
    check(symlink("file", "link") == 0 && symlink("nothing", "dangling") == 0 && symlink("sub", "dirlink") == 0, "symlink");
    if (setxattr("file", "user.kept", "kept", 4, 0) < 0 && errno != EOPNOTSUPP) check(0, "setxattr");
    snprintf(out, sizeof out, "%s/mine", rw), put(out, "mine\n", 0644);
}

/* All about one file, and those below it in the order of their names. */
static void look(const char *path) {
    struct statx st;
    struct fsxattr fsx = {0};
    struct dirent **names;
    char buf[4096], next[2 * PATH_MAX];
    int flags = 0;
    check(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_ALL, &st) == 0, path);
    printf("%s: inode %llu mode %o links %u owner %u %u size %llu blocks %llu attributes %llx mtime %lld.%09u ctime %lld.%09u\n", path,
           (unsigned long long)st.stx_ino, st.stx_mode, st.stx_nlink, st.stx_uid, st.stx_gid, (unsigned long long)st.stx_size,
           (unsigned long long)st.stx_blocks, (unsigned long long)st.stx_attributes, (long long)st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec,
           (long long)st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec);
    ssize_t n = llistxattr(path, buf, sizeof buf);
    for (char *name = buf; name < buf + n; name += strlen(name) + 1) {
        char value[256];
        ssize_t size = lgetxattr(path, name, value, sizeof value);
        printf("  %s = %.*s\n", name, size < 0 ? 0 : (int)size, value);
    }
    if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode)) {
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        check(fd >= 0, path);
        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) printf("  flags %x\n", flags);
        if (ioctl(fd, FS_IOC_FSGETXATTR, &fsx) == 0) printf("  xflags %x project %u\n", fsx.fsx_xflags, fsx.fsx_projid);
        if (S_ISREG(st.stx_mode)) printf("  content %.*s", (int)read(fd, buf, sizeof buf), buf);
        close(fd);
    }
    if (!S_ISDIR(st.stx_mode)) return;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (!strcmp(names[i]->d_name, ".") || !strcmp(names[i]->d_name, "..")) continue;
        snprintf(next, sizeof next, "%s/%s", path, names[i]->d_name);
        look(next);
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || !realpath(argv[2], top)) { fprintf(stderr, "usage: changers prepare|look|try|jail TOP\n"); return 2; }
    check(strlen(top) < 2000, "short names");
    strcpy(stpcpy(ro, top), "/ro"), strcpy(stpcpy(rw, top), "/rw");
    signal(SIGPIPE, SIG_IGN), signal(SIGXFSZ, SIG_IGN);
    alarm(50);
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (!strcmp(argv[1], "prepare")) prepare();
    else if (!strcmp(argv[1], "look")) look(ro);
    else {
        if (!strcmp(argv[1], "jail")) {
            struct { uint64_t set, clear, propagation, userns; } attr = {1 /* MOUNT_ATTR_RDONLY */, 0, 0, 0};
            enter_jail(top);
            check(mount(ro, ro, NULL, MS_BIND, NULL) == 0 && syscall(442 /* mount_setattr */, AT_FDCWD, ro, 0, &attr, sizeof attr) == 0, "read-only");
        }
        drop_capabilities();
        try_all();
    }
    return finish();
}
