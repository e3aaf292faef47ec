/* fill: a directory of limited size gets full and no fuller, in whatever way it is filled.
 *
 *   fill DIR LIMIT MODE
 *
 * Fills DIR in one way until ENOSPC, compares what the files hold with LIMIT, prints "full" and waits for the end of
 * its input, so that the caller can look as well. Then it lets go of everything, and all must be free again. */
#include "check.h"
#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

static const char *dir;
static long limit;
static char block[1 << 16];

/* Descriptors that count although no name leads to them. */
static int loose[4096], loose_count;

static long pages(long n) { return (n + 4095) / 4096 * 4096; }

static long length(int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

/* What names and files in DIR come to, files once. */
static long in_dir(void) {
    DIR *d = opendir(dir);
    if (!d) return -1;
    long total = 0;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        total += 4096;
        if (S_ISREG(st.st_mode)) total += pages(st.st_size) / (long)st.st_nlink;
    }
    closedir(d);
    return total;
}

static long total(void) {
    long sum = in_dir();
    for (int i = 0; i < loose_count; i++) sum += 4096 + pages(length(loose[i]));
    return sum;
}

static int make(const char *name, int flags) { return open(name, O_RDWR | O_CREAT | flags, 0600); }

/* Writes until it fails; the errno. */
static int stuff(int fd) {
    while (write(fd, block, sizeof block) > 0) {}
    return errno;
}

static void by_write(void) { ok(stuff(make("f", 0)) == ENOSPC, "write"); }

static void by_append(void) { ok(stuff(make("f", O_APPEND)) == ENOSPC, "append"); }

/* Linux 6.9 has a flag (RWF_NOAPPEND) with which the offset counts in spite of O_APPEND; others are unknown here. */
static void by_flags(void) {
    int fd = make("f", O_APPEND);
    struct iovec byte = {block, 1};
    for (int flag = 1; flag < 1 << 12; flag <<= 1) {
        pwritev2(fd, &byte, 1, 64L << 20, flag);
        pwritev2(fd, &byte, 1, 64L << 20, flag | 0x20);
    }
    ok(length(fd) <= limit, "no flag leads beyond: %ld", length(fd));
    ok(stuff(fd) == ENOSPC, "append");
}

static void by_pwrite(void) {
    int fd = make("f", 0);
    ok(fails(pwrite(fd, "x", 1, limit), ENOSPC), "a hole is no way out");
    long at = 0, n;
    while ((n = pwrite(fd, block, 5000, at)) > 0) at += n;
    ok(errno == ENOSPC, "pwrite");
    ok(pwrite(fd, block, 5000, 0) == 5000, "what is there can be written again");
    ok(fails(syscall(SYS_pwrite64, fd, block, 1L, -1L), EINVAL) && fails(syscall(SYS_pwrite64, -1, block, 1, 0), EBADF), "errors of the call itself");
    int reader = open("f", O_RDONLY);
    ok(fails(syscall(SYS_write, reader, block, 1), EBADF) && fails(syscall(SYS_pwrite64, fd, 8, 5000, 0), EFAULT), "errors of the kernel's");
}

static void by_vectors(void) {
    int fd = make("f", 0);
    struct iovec v[3] = {{block, 1000}, {block, 0}, {block, sizeof block}};
    ok(writev(fd, v, 3) == 1000 + (long)sizeof block, "writev writes all");
    ok(fails(syscall(SYS_writev, fd, v, -1L), EINVAL) && fails(syscall(SYS_writev, fd, 8, 2), EFAULT), "bad vectors");
    ok(pwritev(fd, v, 1, 5) == 1000 && lseek(fd, 0, SEEK_CUR) == 1000 + (long)sizeof block, "pwritev leaves the position");
    while (writev(fd, v, 3) > 0) {}
    ok(errno == ENOSPC, "writev");
    long at = length(fd);
    while (pwritev2(fd, v, 3, at, 0) > 0) at = length(fd);
    ok(errno == ENOSPC && fails(pwritev2(fd, v, 3, -1, RWF_APPEND), ENOSPC), "pwritev2");
}

static void by_small_files(void) {
    char name[32];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%d", i);
        int fd = make(name, 0);
        if (fd < 0 || write(fd, "x", 1) < 0) break;
        close(fd);
    }
    ok(errno == ENOSPC, "small files");
}

static void by_names(void) {
    char name[32];
    int e[5] = {0};
    close(make("first", 0));
    for (int i = 0, bad = 0; bad < 5; i++) {
        snprintf(name, sizeof name, "%d", i);
        long r = i % 5 == 0 ? open(name, O_CREAT | O_EXCL | O_WRONLY, 0600)
            : i % 5 == 1 ? mkdir(name, 0700)
            : i % 5 == 2 ? symlink("x", name)
            : i % 5 == 3 ? link("first", name)
                         : mkfifo(name, 0600);
        if (r < 0) e[i % 5] = errno, bad++;
        else if (i % 5 == 0) close(r);
    }
    for (int i = 0; i < 5; i++) ok(e[i] == ENOSPC, "kind of name %d", i);
    ok(rename("0", "renamed") == 0 && rename("renamed", "first") == 0, "renaming needs no room");
}

static void by_allocation(void) {
    int fd = make("f", 0);
    ok(fails(fallocate(fd, 0, 0, limit + 1), ENOSPC) && length(fd) == 0, "fallocate of too much does nothing");
    ok(fallocate(fd, 0, 0, limit / 2) == 0, "fallocate");
    ok(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, limit / 2) == 0, "fallocate of what is there");
    ok(fails(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, limit), EOPNOTSUPP), "no blocks behind the end");
    ok(posix_fallocate(fd, 0, limit - 4096) == 0 && length(fd) == limit - 4096, "posix_fallocate");
    ok(fails(ftruncate(fd, limit - 4095), ENOSPC) && ftruncate(fd, 10) == 0, "ftruncate");
    ok(fails(truncate("f", limit), ENOSPC) && truncate("f", limit - 4096) == 0, "truncate");
    struct statvfs now;
    ok(statvfs(dir, &now) == 0 && now.f_bavail == 0, "full");
    close(open("f", O_WRONLY | O_TRUNC));
    ok(fstatvfs(fd, &now) == 0 && (long)now.f_bavail == limit / 4096 - 1, "emptied by open");
    ok(fallocate(fd, 0, 0, limit - 4096) == 0, "filled again");
}

static void by_mapping(void) {
    int fd = make("f", 0);
    ok(fails(ftruncate(fd, limit * 16), ENOSPC), "no sparse file that is longer");
    ok(ftruncate(fd, limit - 4096) == 0, "a sparse file");
    char *at = mmap(NULL, limit * 2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!ok(at != MAP_FAILED, "mmap")) return;
    close(fd);
    memset(at, 'x', limit - 4096);
    unlink("f");
    struct statvfs now;
    ok(statvfs(dir, &now) == 0 && now.f_bavail == 0, "a mapping alone keeps a file");
    munmap(at, limit * 2);
    by_write();
}

static void by_copying(void) {
    int from = make("from", 0), to = make("to", 0);
    ok(write(from, block, sizeof block) > 0, "a source");
    off_t source = 100, target = 0;
    ok(copy_file_range(from, &source, to, &target, 5000, 0) == 5000 && source == 5100 && target == 5000, "copy_file_range");
    for (;;) {
        source = 0;
        if (copy_file_range(from, &source, to, &target, sizeof block, 0) <= 0) break;
    }
    ok(errno == ENOSPC, "copying");
    ok(fails(syscall(SYS_sendfile, to, from, NULL, 100), EINVAL), "sendfile");
}

static void by_nameless(void) {
    for (;;) {
        int fd = loose_count % 2 ? open(dir, O_TMPFILE | O_RDWR, 0600) : make("f", 0);
        if (fd < 0) break;
        loose[loose_count++] = fd;
        unlink("f");
        if (write(fd, block, 20000) < 0) break;
    }
    ok(errno == ENOSPC, "files without names");
}

/* Nobody but a socket has the files: no descriptor, no name. */
static int sockets[2];
static void by_passing(void) {
    int e = 0;
    socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    for (int i = 0; i < 200; i++) {
        int fd = make("f", 0);
        if (fd < 0) { e = errno; break; }
        unlink("f");
        long n = write(fd, block, sizeof block);
        if (n < 0) e = errno;
        char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
        struct iovec v = {&byte, 1};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        if (sendmsg(sockets[0], &m, MSG_DONTWAIT) < 0) e = errno;
        close(fd);
        if (e) break;
    }
    ok(e == ENOSPC, "files in a socket");
}

/* A handle by O_PATH keeps a file, too. */
static void by_handles(void) {
    int e = 0;
    while (!e && loose_count < 4000) {
        int fd = make("f", 0), handle = open("f", O_PATH);
        if (fd < 0 || write(fd, block, sizeof block) < 0) e = errno;
        unlink("f");
        if (handle >= 0) loose[loose_count++] = handle;
        close(fd);
    }
    ok(e == ENOSPC, "files held by O_PATH");
}

/* No reading allowed: sbox counts all the same. */
static void by_unreadable(void) {
    int fd = open("f", O_WRONLY | O_CREAT, 0);
    struct stat st;
    ok(fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0, "the mode is as it was asked");
    ok(stuff(fd) == ENOSPC, "write");
    unlink("f");
    close(fd);
    mkdir("d", 0700);
    fd = make("d/f", 0);
    chmod("d", 0);
    stuff(fd);
    close(fd);
    struct statvfs now;
    ok(statvfs(dir, &now) == 0 && now.f_bavail == 0, "in a directory that can't be read");
    chmod("d", 0700);
    unlink("d/f");
    rmdir("d");
    by_write();
}

static void by_storm(void) {
    pid_t all[8];
    for (int i = 0; i < 8; i++) {
        if ((all[i] = fork_clean()) > 0) continue;
        char name[16];
        int e = 0;
        for (int n = 0; !e; n++) {
            snprintf(name, sizeof name, "%d-%d", i, n);
            int fd = make(i % 2 ? "shared" : name, i % 2 ? O_APPEND : 0);
            if (fd < 0) e = errno;
            else if (write(fd, block, 1000 + i * 3000) < 0) e = errno;
            if (fd >= 0) close(fd);
        }
        _exit(e != ENOSPC);
    }
    for (int i = 0; i < 8; i++) {
        int st;
        ok(waitpid(all[i], &st, 0) == all[i] && st == 0, "writer %d", i);
    }
}

static void by_shared_memory(void) {
    int fd = shm_open("/fill", O_RDWR | O_CREAT, 0600);
    ok(fd >= 0 && fails(ftruncate(fd, limit + 1), ENOSPC), "shm_open");
    ok(ftruncate(fd, limit - 4096) == 0, "as long as fits");
}

static void by_attributes(void) {
    int fd = make("f", 0);
    int r = syscall(SYS_fsetxattr, fd, "user.a", block, 5000, 0);
    ok(r < 0 && (errno == ENOSPC || errno == EOPNOTSUPP), "no attribute larger than a page");
    by_write();
}

static const struct { const char *name; void (*fill)(void); int exact; } modes[] = {
    {"write", by_write, 1}, {"append", by_append, 1}, {"flags", by_flags, 1}, {"pwrite", by_pwrite, 1}, {"vectors", by_vectors, 1},
    {"small", by_small_files, 1}, {"names", by_names, 0}, {"allocation", by_allocation, 1}, {"mapping", by_mapping, 1},
    {"copying", by_copying, 1}, {"nameless", by_nameless, 1}, {"passing", by_passing, 0}, {"handles", by_handles, 0},
    {"unreadable", by_unreadable, 1}, {"storm", by_storm, 0}, {"shm", by_shared_memory, 1}, {"attributes", by_attributes, 1},
};

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    dir = argv[1];
    limit = atol(argv[2]);
    if (chdir(dir) < 0) { perror(dir); return 2; }
    struct statvfs now;
    ok(statvfs(dir, &now) == 0 && (long)(now.f_blocks * now.f_frsize) == limit && now.f_bfree == now.f_blocks, "empty");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].name, argv[3])) continue;
        modes[i].fill();
        long used = total();
        note("%ld of %ld", used, limit);
        ok(used <= limit, "not beyond the limit");
        ok(!modes[i].exact || used == limit, "nor before it");
    }
    puts("full");
    fflush(stdout);
    while (read(0, block, sizeof block) > 0) {}
    for (int fd = 3; fd < 4200; fd++) close(fd);
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    closedir(d);
    if (strcmp(argv[3], "handles")) ok(statvfs(dir, &now) == 0 && now.f_bfree == now.f_blocks, "all is free again");
    return finish();
}
