/* attack_interpreter_fifo: while an exec is being judged, the program's ELF interpreter is replaced by a FIFO; whoever
 * opens that for reading without asking first waits for ever.
 *
 *   attack_interpreter_fifo DIR ROUNDS    DIR is writable, on a file system that has no device of its own (tmpfs):
 *                                         there the supervisor has to open an interpreter once
 *
 * The interpreter is no program, so that no exec succeeds; each must come to its end. */
#include "check.h"
#include <elf.h>

enum { PATIENCE_MS = 5000 };

static char program[PATH_MAX], interpreter[PATH_MAX], new_file[PATH_MAX], new_fifo[PATH_MAX];

/* No more than the headers that lead to the interpreter. */
static void make_program(void) {
    struct { Elf64_Ehdr elf; Elf64_Phdr interp; char path[PATH_MAX]; } file = {
        .elf = {
            .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
            .e_type = ET_DYN,
            .e_machine = EM_X86_64,
            .e_version = EV_CURRENT,
            .e_phoff = sizeof(Elf64_Ehdr),
            .e_ehsize = sizeof(Elf64_Ehdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = 1,
        },
        .interp = {
            .p_type = PT_INTERP,
            .p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
            .p_filesz = strlen(interpreter) + 1,
        },
    };
    strcpy(file.path, interpreter);
    int fd = open(program, O_CREAT | O_WRONLY, 0755);
    write(fd, &file, sizeof file);
    close(fd);
}

/* A new file each time: one that was opened once is known. */
static void replace(void) {
    for (;;) {
        put(new_file, "no program", 0755);
        rename(new_file, interpreter);
        mkfifo(new_fifo, 0755);
        rename(new_fifo, interpreter);
    }
}

/* The errno of an exec of the program; -1: it did not end. */
static int try_exec(void) {
    pid_t p = fork_clean();
    if (p == 0) {
        char *args[] = {program, NULL};
        execv(program, args);
        _exit(errno);
    }
    int status = reap(p, PATIENCE_MS);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    snprintf(program, sizeof program, "%s/program", argv[1]);
    snprintf(interpreter, sizeof interpreter, "%s/interpreter", argv[1]);
    snprintf(new_file, sizeof new_file, "%s/file", argv[1]);
    snprintf(new_fifo, sizeof new_fifo, "%s/fifo", argv[1]);
    make_program();
    put(interpreter, "no program", 0755);
    errno = try_exec();
    ok(errno == ELIBBAD || errno == EIO, "an interpreter that is no program is refused by the kernel");
    pid_t replacer = fork_clean();
    if (replacer == 0) replace();
    int ended = 1;
    for (int i = atoi(argv[2]); i > 0 && ended; i--) ended = try_exec() >= 0;
    ok(ended, "each exec ends");
    kill(replacer, SIGKILL);
    ok(waitpid(replacer, NULL, 0) == replacer, "wait");
    return finish();
}
