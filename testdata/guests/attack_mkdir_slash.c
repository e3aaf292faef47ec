/* attack_mkdir_slash: a slash behind the name of a link must not make the kernel follow it on the host.
 *
 *   attack_mkdir_slash DIR ALIAS THERE ABSENT    DIR is writable, ALIAS the same directory read-only, THERE a directory
 *                                                outside the view and ABSENT none: two equal answers */
#include "check.h"

static int error_of_mkdir(const char *dir, const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/", dir, name);
    return mkdir(path, 0755) ? errno : 0;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    ok(!chdir(argv[1]) && !symlink(argv[3], "l1") && !symlink(argv[4], "l2"), "links");
    int there = error_of_mkdir(argv[2], "l1"), absent = error_of_mkdir(argv[2], "l2");
    ok(there && there == absent, "there %s, absent %s", errname(there), errname(absent));
    return finish();
}
