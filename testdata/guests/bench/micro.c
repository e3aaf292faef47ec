/*
 * micro CALL COUNT [PATH]: makes one system call COUNT times and reports the time of one.
 * Every loop looks at what it got; a wrong answer ends the program with status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static long long loop_getuid(long n, const char *path)
{
	long first = syscall(SYS_getuid);

	(void)path;
	for (long i = 0; i < n; i++)
		if (syscall(SYS_getuid) != first)
			die("getuid");
	return n;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

/* For the loops on one open file: opened before the clock starts. */
static int file = -1;

/* read, not pread: /dev/zero is a stream, and one byte is the cheapest read there is. */
static long long loop_read_zero(long n, const char *path)
{
	long long sum = 0;
	char byte = 1;

	(void)path;
	for (long i = 0; i < n; i++) {
		if (read(file, &byte, 1) != 1)
			die("read");
		sum += byte == 0;
	}
	return sum;
}

static long long loop_read_4k(long n, const char *path)
{
	static char buf[4096];
	long long bytes = 0;

	(void)path;
	for (long i = 0; i < n; i++) {
		ssize_t got = pread(file, buf, sizeof(buf), 0);

		if (got != sizeof(buf))
			die("pread");
		bytes += got;
	}
	return bytes / 4096;
}

static long long loop_stat(long n, const char *path)
{
	long long good = 0;
	struct stat st;

	for (long i = 0; i < n; i++) {
		st.st_size = -1;
		if (stat(path, &st) != 0)
			die("stat");
		good += st.st_size > 0;
	}
	return good;
}

static long long loop_open_close(long n, const char *path)
{
	for (long i = 0; i < n; i++)
		if (close(open_or_die(path, 0)) != 0)
			die("close");
	return n;
}

struct dirent_head {
	unsigned long long ino;
	long long off;
	unsigned short reclen;
};

/* Entries of the whole directory, "." and ".." included. */
static long long one_listing(int fd)
{
	static _Alignas(16) char buf[32768];
	long long entries = 0;
	long got;

	if (lseek(fd, 0, SEEK_SET) != 0)
		die("lseek");
	while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (long at = 0; at < got; at += ((struct dirent_head *)(buf + at))->reclen)
			entries++;
	if (got < 0)
		die("getdents64");
	return entries;
}

static long long loop_getdents(long n, const char *path)
{
	long long entries = 0;

	(void)path;
	for (long i = 0; i < n; i++)
		entries += one_listing(file);
	return entries;
}

static long long loop_spawn(long n, const char *path)
{
	char *const argv[] = { (char *)path, NULL };
	char *const envp[] = { NULL };
	long long good = 0;

	for (long i = 0; i < n; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			execve(path, argv, envp);
			_exit(127);
		}
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		/* noop.c ends with 42: neither success by accident nor a failed exec. */
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 42) {
			errno = 0;
			die("spawned program");
		}
		good++;
	}
	return good;
}

static const struct {
	const char *name;
	long long (*loop)(long n, const char *path);
	int opens;
} calls[] = {
	{ "getuid", loop_getuid, 0 },
	{ "read-zero", loop_read_zero, 1 },
	{ "read-4k", loop_read_4k, 1 },
	{ "stat", loop_stat, 0 },
	{ "open-close", loop_open_close, 0 },
	{ "getdents", loop_getdents, 1 },
	{ "spawn", loop_spawn, 0 },
};

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: micro CALL COUNT [PATH]\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(argv[1], calls[i].name) != 0)
			continue;
		long n = loop_count(argv[2]);
		struct timing timing = { 0 };
		long long check = 0;

		if (calls[i].opens)
			file = open_or_die(argc > 3 ? argv[3] : "", 0);
		for (int part = 0; part < PARTS && part_of(n, part) > 0; part++) {
			double start = now_ns();

			check += calls[i].loop(part_of(n, part), argc > 3 ? argv[3] : "");
			add_part(&timing, now_ns() - start, part_of(n, part));
		}
		report(&timing, check);
		return 0;
	}
	fprintf(stderr, "unknown call: %s\n", argv[1]);
	return 2;
}
