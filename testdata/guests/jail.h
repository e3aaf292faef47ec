/* jail.h: for guests that run natively and could do harm there. Nothing is left but one directory and /proc, and no
 * capability, which is also what sbox leaves. */
#ifndef JAIL_H
#define JAIL_H
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>

static void check(int good, const char *what) {
    if (!good) { perror(what); exit(2); }
}

static void put_line(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
    close(fd);
}

/* A root directory that holds nothing but TOP, at its own path, and /proc. It lies over /tmp, for this process alone. */
static void enter_jail(const char *top) {
    char path[PATH_MAX + 8], link[64], map[64];
    int uid = getuid(), gid = getgid(), dir;
    check(unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) == 0, "unshare");
    if (uid) {
        put_line("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "%d %d 1", uid, uid), put_line("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "%d %d 1", gid, gid), put_line("/proc/self/gid_map", map);
    }
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
    check((dir = open(top, O_PATH)) >= 0, top);
    check(mount("jail", "/tmp", "tmpfs", 0, "mode=755") == 0, "tmpfs");
    snprintf(path, sizeof path, "/tmp%s", top);
    for (char *at = path + strlen("/tmp/"); (at = strchr(at, '/')); at++) *at = 0, mkdir(path, 0755), *at = '/';
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    check(mkdir(path, 0755) == 0 && mount(link, path, NULL, MS_BIND, NULL) == 0, path);
    check(mkdir("/tmp/proc", 0755) == 0 && mount("/proc", "/tmp/proc", NULL, MS_BIND | MS_REC, NULL) == 0, "proc");
    check(chroot("/tmp") == 0 && chdir("/") == 0, "chroot");
    close(dir);
}

/* sbox gives up all capabilities, as root too. */
static void drop_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    check(syscall(SYS_capset, &head, none) == 0, "capset");
}
#endif
