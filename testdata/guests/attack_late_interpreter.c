/* attack_late_interpreter: an approved static program is given an ELF interpreter before the kernel loads it: a hidden
 * static program, which the kernel would load to the addresses it was linked for, and start.
 *
 *   attack_late_interpreter DIR PROGRAM HIDDEN ROUNDS    DIR is writable; PROGRAM and HIDDEN are static programs linked
 *                                                        for fixed addresses and exit with 7 and 66: 66 must not be seen
 *
 * One header of a copy of PROGRAM is changed from PT_NOTE to PT_INTERP and back, all the time. */
#include "check.h"
#include <elf.h>

static char copy[PATH_MAX];

/* PROGRAM and behind it the path of HIDDEN. Returns where the header is that may become PT_INTERP; 0: no such program. */
static off_t make_copy(const char *program, const char *hidden, Elf64_Phdr *note_header, Elf64_Phdr *interp_header) {
    struct stat st;
    int fd = open(program, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0) return 0;
    char *bytes = malloc(st.st_size);
    read(fd, bytes, st.st_size);
    close(fd);
    fd = open(copy, O_CREAT | O_WRONLY, 0755);
    write(fd, bytes, st.st_size);
    write(fd, hidden, strlen(hidden) + 1);
    close(fd);
    Elf64_Ehdr *elf = (void *)bytes;
    Elf64_Phdr *headers = (void *)(bytes + elf->e_phoff);
    for (int i = 0; elf->e_type == ET_EXEC && i < elf->e_phnum; i++) {
        if (headers[i].p_type != PT_NOTE) continue;
        *note_header = *interp_header = headers[i];
        interp_header->p_type = PT_INTERP;
        interp_header->p_offset = st.st_size;
        interp_header->p_filesz = interp_header->p_memsz = strlen(hidden) + 1;
        return (char *)&headers[i] - bytes;
    }
    return 0;
}

static void flip(off_t at, const Elf64_Phdr *a, const Elf64_Phdr *b) {
    for (unsigned i = 0;; i++) {
        int fd = open(copy, O_WRONLY); /* ETXTBSY while it is being run */
        if (fd < 0) continue;
        pwrite(fd, i % 2 ? a : b, sizeof *a, at);
        close(fd);
        for (volatile int k = rand() % 60000; k > 0; k--) {}
    }
}

/* The wait status of an exec of the copy. */
static int run_copy(void) {
    pid_t p = fork_clean();
    if (p == 0) {
        char *args[] = {"copy", NULL}, *env[] = {NULL};
        execve(copy, args, env);
        _exit(100);
    }
    int status;
    waitpid(p, &status, 0);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    snprintf(copy, sizeof copy, "%s/copy", argv[1]);
    Elf64_Phdr note_header, interp_header;
    off_t at = make_copy(argv[2], argv[3], &note_header, &interp_header);
    if (!ok(at > 0, "a static program with a note, linked for fixed addresses")) return finish();
    int status = run_copy();
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the program itself is run");
    pid_t flipper = fork_clean();
    if (flipper == 0) flip(at, &note_header, &interp_header);
    int ran = 0, killed = 0, failed = 0, hidden = 0;
    for (int i = atoi(argv[4]); i > 0 && !hidden; i--) {
        status = run_copy();
        if (WIFSIGNALED(status)) killed++;
        else if (WEXITSTATUS(status) == 7) ran++;
        else if (WEXITSTATUS(status) == 66) hidden++;
        else failed++;
    }
    kill(flipper, SIGKILL);
    waitpid(flipper, NULL, 0);
    ok(hidden == 0, "the hidden program is never run");
    note("ran %d, killed %d, failed %d", ran, killed, failed);
    return finish();
}
