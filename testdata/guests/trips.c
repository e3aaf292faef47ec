/* Names a path in one way and says so: for rules that end the run at a name. argv: way, path, directory where new names may be made.
   "near" is all that comes close and names nothing: listings, what lies beside, what is above. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char above[4096], other[4200];

static int in_thread_of_child(const char *path) {
    int child = vfork();
    if (child == 0) { execl(path, path, NULL); _exit(1); }
    int status;
    return waitpid(child, &status, 0);
}

static int come_near(const char *name) {
    struct stat stat;
    DIR *list = opendir(above);
    int found = 0;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char one[8400];
        snprintf(one, sizeof one, "%s/%s", above, entry->d_name);
        found |= strcmp(entry->d_name, name) == 0;
        if (lstat(one, &stat) != 0) printf("no stat of %s\n", entry->d_name);
    }
    if (list) closedir(list);
    printf("listed %d\n", found);
    snprintf(other, sizeof other, "%s/%sx", above, name);
    printf("beside %d\n", access(other, F_OK));
    printf("above %d\n", chdir(above));
    return 0;
}

static int way(const char *how, const char *path, const char *made, const char *name) {
    struct stat stat;
    char text[64];
    snprintf(other, sizeof other, "%s/new", made);
    if (!strcmp(how, "stat")) return lstat(path, &stat);
    if (!strcmp(how, "access")) return access(path, F_OK);
    if (!strcmp(how, "open")) return open(path, O_RDONLY);
    if (!strcmp(how, "path")) return open(path, O_PATH);
    if (!strcmp(how, "create")) return open(path, O_WRONLY | O_CREAT, 0600);
    if (!strcmp(how, "mkdir")) return mkdir(path, 0700);
    if (!strcmp(how, "unlink")) return unlink(path);
    if (!strcmp(how, "link")) return link(path, other);
    if (!strcmp(how, "rename")) return rename(path, other);
    if (!strcmp(how, "rename-over")) return close(open(other, O_CREAT | O_WRONLY, 0600)), rename(other, path);
    if (!strcmp(how, "symlink")) return symlink(path, other), open(other, O_RDONLY);
    if (!strcmp(how, "relative")) return chdir(above), open(name, O_RDONLY);
    if (!strcmp(how, "openat")) return openat(open(above, O_PATH), name, O_RDONLY);
    if (!strcmp(how, "proc")) return chdir(above), snprintf(other, sizeof other, "/proc/self/cwd/%s", name), open(other, O_RDONLY);
    if (!strcmp(how, "dots")) return snprintf(other, sizeof other, "%s/../%s/./%s", above, strrchr(above, '/') + 1, name), open(other, O_RDONLY);
    if (!strcmp(how, "below")) return snprintf(other, sizeof other, "%s/a/b", path), open(other, O_RDONLY);
    if (!strcmp(how, "within")) {
        struct open_how asked = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
        return syscall(SYS_openat2, open(above, O_PATH), name, &asked, sizeof asked);
    }
    if (!strcmp(how, "chmod")) return chmod(path, 0600);
    if (!strcmp(how, "xattr")) return getxattr(path, "user.a", text, sizeof text);
    if (!strcmp(how, "readlink")) return readlink(path, text, sizeof text);
    if (!strcmp(how, "chdir")) return chdir(path);
    if (!strcmp(how, "truncate")) return truncate(path, 0);
    if (!strcmp(how, "watch")) return inotify_add_watch(inotify_init1(0), path, IN_OPEN);
    if (!strcmp(how, "exec")) return execl(path, path, NULL);
    if (!strcmp(how, "vfork-exec")) return in_thread_of_child(path);
    if (!strcmp(how, "connect") || !strcmp(how, "bind")) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
        return *how == 'c' ? connect(fd, (void *)&to, sizeof to) : bind(fd, (void *)&to, sizeof to);
    }
    if (!strcmp(how, "near")) return come_near(name);
    printf("no way %s\n", how);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    snprintf(above, sizeof above, "%s", argv[2]);
    char *name = strrchr(above, '/');
    *name++ = 0;
    name = strdup(name);
    if (!*above) strcpy(above, "/");
    /* A child, too, must be gone. */
    if (fork() == 0) { usleep(300000); printf("child lives\n"); return 0; }
    int said = way(argv[1], argv[2], argv[3], name);
    printf("%s %s\n", argv[1], said >= 0 ? "done" : strerror(errno));
    return 0;
}
