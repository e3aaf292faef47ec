/* attack_scratch: with the host's temporary directory writable, puts a link where sbox is about to make a directory of
 * its own; opening one that it makes up would then open and chmod what the link leads to.
 *
 *   attack_scratch TMP VICTIM    VICTIM is a directory outside the view, whose mode must not change */
#include "check.h"
#include <glob.h>

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char path[PATH_MAX];
    glob_t found;
    snprintf(path, sizeof path, "%s/sbox-%d/*/synth", argv[1], getuid());
    ok(glob(path, 0, NULL, &found) == GLOB_NOMATCH, "sbox's own files are not seen");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        for (unsigned long kind = 2; kind <= 4; kind++) {
            snprintf(path, sizeof path, "%s/%lx", found.gl_pathv[i], 1ul << 63 | kind << 56);
            rmdir(path);
            symlink(argv[2], path);
        }
    }
    const char *made_up[] = {"/dev/pts", "/dev", "/proc"};
    for (int i = 0; i < 3; i++) ok(open(made_up[i], O_RDONLY | O_DIRECTORY) >= 0, "open %s", made_up[i]);
    return finish();
}
