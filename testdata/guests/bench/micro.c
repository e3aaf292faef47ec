/*
 * micro CALL COUNT [PATH]: makes one system call COUNT times and reports the time of one.
 * Every loop looks at what it got; a wrong answer ends the program with status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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

static long long loop_fork(long n, const char *path)
{
	(void)path;
	for (long i = 0; i < n; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0)
			_exit(42);
		if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
			die("waitpid");
	}
	return n;
}

static void *add_one(void *sum)
{
	++*(long long *)sum;
	return NULL;
}

static long long loop_thread(long n, const char *path)
{
	long long sum = 0;

	(void)path;
	for (long i = 0; i < n; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, add_one, &sum) != 0 || pthread_join(thread, NULL) != 0)
			die("pthread");
	}
	return sum;
}

static volatile sig_atomic_t signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* A child that answers each byte with a signal and a byte. */
static _Noreturn void answer(int from, int to, pid_t parent)
{
	char byte;

	while (read(from, &byte, 1) == 1)
		if (kill(parent, SIGUSR1) != 0 || write(to, &byte, 1) != 1)
			_exit(1);
	_exit(0);
}

static long long loop_ping_pong(long n, const char *path)
{
	struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };
	int there[2], back[2], status;
	char byte = 1;

	(void)path;
	signals = 0;
	if (sigaction(SIGUSR1, &action, NULL) != 0 || pipe(there) != 0 || pipe(back) != 0)
		die("pipe");
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		close(there[1]);
		answer(there[0], back[1], parent);
	}
	for (long i = 0; i < n; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			die("ping");
	close(there[1]);
	if (waitpid(child, &status, 0) != child || status != 0)
		die("pong");
	close(there[0]);
	close(back[0]);
	close(back[1]);
	return signals;
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
	{ "fork", loop_fork, 0 },
	{ "thread", loop_thread, 0 },
	{ "ping-pong", loop_ping_pong, 0 },
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
