/* attack_open_creat: a file that somebody outside removes just now isn't made anew on a read-only mount.
 *
 *   attack_open_creat FILE
 *
 * FILE, in a directory that is read-only, comes and goes. open(2) with O_CREAT may open it where it is there; where it
 * isn't, the answer is EROFS. A file that this guest made is one that nobody outside has written to: it is empty. */
#include "check.h"

int main(int argc, char **argv) {
    if (argc < 2) { fprintf(stderr, "usage: attack_open_creat FILE\n"); return 2; }
    long opened = 0, absent = 0, other = 0;
    for (long end = now_us() + 3000000; now_us() < end;) {
        int fd = open(argv[1], O_RDONLY | O_CREAT, 0604);
        if (fd >= 0) opened++, close(fd);
        else if (errno == EROFS || errno == ENOENT) absent++;
        else other++;
    }
    note("%ld opened, %ld absent, %ld else", opened, absent, other);
    ok(opened > 0 && absent > 0, "the file came and went");
    ok(other == 0, "no other answer");
    return finish();
}
