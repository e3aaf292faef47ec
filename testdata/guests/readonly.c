/* readonly: nothing on a read-only bind can be changed, by any name or through any descriptor.
 *
 *   readonly DIR WRITABLE
 *
 * DIR (bound read-only) holds file, sub/, link -> file; WRITABLE is a writable directory. Every call here would change
 * content or metadata; each must fail, and with EROFS where Linux says EROFS. The caller compares the tree afterwards. */
#include "check.h"
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <utime.h>

/* Must fail, with one of these errors. The first is Linux's on a read-only mount. */
#define REFUSED(name, expr, ...)                                                                     \
    do {                                                                                             \
        errno = 0;                                                                                   \
        long r_ = (long)(expr);                                                                      \
        int e_ = errno, may_[] = {__VA_ARGS__}, fine_ = 0;                                           \
        for (size_t i_ = 0; i_ < sizeof may_ / sizeof *may_; i_++) fine_ |= e_ == may_[i_];           \
        ok(r_ == -1 && fine_, "%s: %s", name, r_ == -1 ? errname(e_) : "succeeded");                  \
    } while (0)

int main(int argc, char **argv) {
    if (argc < 3 || chdir(argv[1]) < 0) { perror("readonly DIR WRITABLE"); return 2; }
    const char *w = argv[2];
    char outside[PATH_MAX], self[64];
    snprintf(outside, sizeof outside, "%s/from", w);
    put(outside, "outside", 0644);
    struct timespec t[2] = {{1, 0}, {2, 0}};

    /* by name */
    REFUSED("open O_WRONLY", open("file", O_WRONLY), EROFS);
    REFUSED("open O_RDWR", open("file", O_RDWR), EROFS);
    REFUSED("open O_RDONLY O_TRUNC", open("file", O_RDONLY | O_TRUNC), EROFS);
    REFUSED("open O_WRONLY O_APPEND", open("file", O_WRONLY | O_APPEND), EROFS);
    REFUSED("open mode 3", open("file", 3), EROFS);
    REFUSED("open mode 3 O_TRUNC", open("file", 3 | O_TRUNC), EROFS);
    REFUSED("open O_WRONLY by link", open("link", O_WRONLY), EROFS);
    REFUSED("open O_CREAT", open("new", O_CREAT | O_RDONLY, 0600), EROFS);
    REFUSED("open O_CREAT O_WRONLY of a file", open("file", O_CREAT | O_WRONLY, 0600), EROFS);
    REFUSED("open O_CREAT O_EXCL of a file", open("file", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
    REFUSED("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600), EROFS);
    REFUSED("creat", creat("file", 0600), EROFS);
    struct { uint64_t flags, mode, resolve; } how = {O_RDWR, 0, 0};
    REFUSED("openat2 O_RDWR", syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how), EROFS);
    REFUSED("truncate", truncate("file", 0), EROFS);
    REFUSED("mkdir", mkdir("new", 0700), EROFS);
    REFUSED("mkdir of a name that exists", mkdir("sub", 0700), EEXIST);
    REFUSED("mknod", mknod("new", S_IFREG | 0600, 0), EROFS);
    REFUSED("mkfifo", mkfifo("new", 0600), EROFS);
    REFUSED("symlink", symlink("x", "new"), EROFS);
    REFUSED("unlink", unlink("file"), EROFS);
    REFUSED("unlink of nothing", unlink("absent"), EROFS);
    REFUSED("rmdir", rmdir("sub"), EROFS);
    REFUSED("rename", rename("file", "new"), EROFS);
    REFUSED("rename onto", rename("file", "link"), EROFS);
    REFUSED("rename out", rename("file", (snprintf(outside, sizeof outside, "%s/to", w), outside)), EXDEV, EROFS);
    REFUSED("rename in", rename((snprintf(outside, sizeof outside, "%s/from", w), outside), "file"), EXDEV, EROFS);
    REFUSED("exchange", syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "link", 2), EROFS);
    REFUSED("link", link("file", "new"), EROFS);
    REFUSED("link out", link("file", (snprintf(outside, sizeof outside, "%s/hard", w), outside)), EXDEV, EROFS);
    REFUSED("linkat out through a descriptor", ({
        int fd = open("file", O_RDONLY);
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        linkat(AT_FDCWD, self, AT_FDCWD, outside, AT_SYMLINK_FOLLOW);
    }), EXDEV, EROFS, ENOENT);
    REFUSED("linkat out by AT_EMPTY_PATH", linkat(open("file", O_RDONLY), "", AT_FDCWD, outside, AT_EMPTY_PATH), EXDEV, EROFS, ENOENT);
    REFUSED("chmod", chmod("file", 0600), EROFS);
    REFUSED("fchmodat2 nofollow", syscall(452, AT_FDCWD, "file", 0600, AT_SYMLINK_NOFOLLOW), EROFS);
    REFUSED("chown", chown("file", getuid(), getgid()), EROFS);
    REFUSED("lchown", lchown("link", getuid(), getgid()), EROFS);
    REFUSED("utime", utime("file", &(struct utimbuf){1, 2}), EROFS);
    REFUSED("utimensat", utimensat(AT_FDCWD, "file", t, 0), EROFS);
    REFUSED("utimensat of the link", utimensat(AT_FDCWD, "link", t, AT_SYMLINK_NOFOLLOW), EROFS);
    REFUSED("utimensat NULL", utimensat(AT_FDCWD, "file", NULL, 0), EROFS);
    REFUSED("setxattr", setxattr("file", "user.x", "1", 1, 0), EROFS);
    REFUSED("lsetxattr", lsetxattr("file", "user.x", "1", 1, 0), EROFS);
    REFUSED("removexattr", removexattr("file", "user.kept"), EROFS);
    REFUSED("setxattrat", ({
        struct { uint64_t value; uint32_t size, flags; } args = {(uint64_t) "1", 1, 0};
        syscall(463, AT_FDCWD, "file", 0, "user.x", &args, sizeof args);
    }), EROFS, ENOSYS);
    REFUSED("file_setattr", ({
        struct { uint64_t xflags; uint32_t extsize, nextents, projid, cow; } fa = {.xflags = 0x80};
        syscall(469, AT_FDCWD, "file", &fa, sizeof fa, 0);
    }), EROFS, ENOSYS);
    REFUSED("access W_OK", access("file", W_OK), EROFS);
    REFUSED("bind of a socket", ({
        struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
        bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
    }), EROFS, EACCES);
    int dir = open("sub", O_RDONLY | O_DIRECTORY);
    REFUSED("openat below a directory descriptor", openat(dir, "../file", O_WRONLY), EROFS);
    REFUSED("by /proc/self/cwd", open("/proc/self/cwd/file", O_WRONLY), EROFS);
    REFUSED("by /proc/self/root", open((snprintf(outside, sizeof outside, "/proc/self/root%s/file", argv[1]), outside), O_WRONLY), EROFS);

    /* through descriptors opened for reading */
    int fd = open("file", O_RDONLY), pfd = open("file", O_PATH);
    if (!ok(fd >= 0 && pfd >= 0 && dir >= 0, "reading is allowed")) return finish();
    REFUSED("write", write(fd, "x", 1), EBADF);
    REFUSED("ftruncate", ftruncate(fd, 0), EINVAL, EBADF);
    REFUSED("fallocate", fallocate(fd, 0, 0, 1), EBADF);
    REFUSED("punch a hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EBADF);
    REFUSED("mmap shared and writable", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    REFUSED("mprotect of a shared mapping", mprotect(map, 4096, PROT_READ | PROT_WRITE), EACCES);
    REFUSED("fchmod", fchmod(fd, 0600), EROFS);
    REFUSED("fchmod of a directory", fchmod(dir, 0700), EROFS);
    REFUSED("fchmodat2 empty path", syscall(452, fd, "", 0600, AT_EMPTY_PATH), EROFS);
    REFUSED("fchmodat2 empty path of O_PATH", syscall(452, pfd, "", 0600, AT_EMPTY_PATH), EROFS);
    REFUSED("fchown", fchown(fd, getuid(), getgid()), EROFS);
    REFUSED("fchownat empty path", fchownat(pfd, "", getuid(), getgid(), AT_EMPTY_PATH), EROFS);
    REFUSED("futimens", futimens(fd, t), EROFS);
    REFUSED("futimens of a directory", futimens(dir, t), EROFS);
    REFUSED("utimensat empty path", syscall(SYS_utimensat, pfd, "", t, AT_EMPTY_PATH), EROFS);
    REFUSED("fsetxattr", fsetxattr(fd, "user.x", "1", 1, 0), EROFS);
    REFUSED("fsetxattr of a directory", fsetxattr(dir, "user.x", "1", 1, 0), EROFS);
    REFUSED("fremovexattr", fremovexattr(fd, "user.kept"), EROFS);
    REFUSED("setxattr by /proc/self/fd", setxattr((snprintf(self, sizeof self, "/proc/self/fd/%d", fd), self), "user.x", "1", 1, 0), EROFS);
    int flags = 0x80; /* FS_NOATIME_FL */
    struct fsxattr fsx = {.fsx_xflags = 0x40};
    REFUSED("FS_IOC_SETFLAGS", ioctl(fd, FS_IOC_SETFLAGS, &flags), EROFS, EPERM, ENOTTY, EACCES, EOPNOTSUPP);
    REFUSED("FS_IOC_SETFLAGS with upper bits", syscall(SYS_ioctl, fd, FS_IOC_SETFLAGS | 1UL << 32, &flags), EROFS, EPERM, ENOTTY, EACCES, EOPNOTSUPP);
    REFUSED("FS_IOC32_SETFLAGS", ioctl(fd, FS_IOC32_SETFLAGS, &flags), EROFS, EPERM, ENOTTY, EACCES, EOPNOTSUPP);
    REFUSED("FS_IOC_FSSETXATTR", ioctl(fd, FS_IOC_FSSETXATTR, &fsx), EROFS, EPERM, ENOTTY, EACCES, EOPNOTSUPP);
    REFUSED("FS_IOC_SETVERSION", ioctl(fd, FS_IOC_SETVERSION, &flags), EROFS, EPERM, ENOTTY, EACCES, EOPNOTSUPP);
    REFUSED("FICLONE", ioctl(fd, FICLONE, open("/etc/passwd", O_RDONLY)), EBADF, EROFS, EPERM, ENOTTY, EOPNOTSUPP, EXDEV, EINVAL);
    REFUSED("reopen by /proc/self/fd O_RDWR", open(self, O_RDWR), EROFS);
    REFUSED("reopen by /proc/self/fd O_RDONLY O_TRUNC", open(self, O_RDONLY | O_TRUNC), EROFS);
    REFUSED("truncate by /proc/self/fd", truncate(self, 0), EROFS);
    snprintf(self, sizeof self, "/dev/fd/%d", fd);
    REFUSED("reopen by /dev/fd", open(self, O_WRONLY), EROFS);
    snprintf(self, sizeof self, "/proc/self/fd/%d", pfd);
    REFUSED("reopen of an O_PATH descriptor", open(self, O_RDWR), EROFS);
    snprintf(self, sizeof self, "/proc/thread-self/fd/%d", fd);
    REFUSED("reopen by /proc/thread-self", open(self, O_RDWR), EROFS);
    snprintf(self, sizeof self, "/proc/%d/fd/%d", (int)getpid(), fd);
    REFUSED("reopen by /proc/<pid>/fd", open(self, O_RDWR), EROFS);
    pid_t child = fork_clean();
    if (child == 0) { pause(); _exit(0); }
    snprintf(self, sizeof self, "/proc/%d/fd/%d", (int)child, fd);
    REFUSED("reopen by a child's /proc/<pid>/fd", open(self, O_RDWR), EROFS);
    snprintf(self, sizeof self, "/proc/%d/cwd/file", (int)child);
    REFUSED("by a child's cwd", open(self, O_RDWR), EROFS);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    int mem = open("/proc/self/mem", O_RDWR);
    if (mem >= 0) {
        REFUSED("write to a mapping by /proc/self/mem", pwrite(mem, "X", 1, (off_t)(uintptr_t)map), EIO, EFAULT);
        close(mem);
    }
    REFUSED("fcntl F_SETLEASE", fcntl(fd, F_SETLEASE, F_WRLCK), EAGAIN, EACCES, EPERM, EINVAL, EROFS);
    off_t off = 0;
    int src = open("/etc/passwd", O_RDONLY);
    REFUSED("copy_file_range to it", copy_file_range(src, NULL, fd, &off, 10, 0), EBADF);
    REFUSED("splice to it", ({ int p[2]; if (pipe(p) || write(p[1], "x", 1) < 0) {} splice(p[0], NULL, fd, &off, 1, 0); }), EBADF);

    char buf[8] = "";
    ok(pread(fd, buf, 7, 0) == 7 && !strcmp(buf, "content"), "and the content is as it was");
    return finish();
}
