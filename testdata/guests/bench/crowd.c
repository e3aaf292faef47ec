/*
 * crowd N PATH: N processes (this one included), each of which has opened PATH once, all asleep.
 * Says "ready N" when they are, and ends when its standard input does.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

static void touch(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	close(fd);
}

static pid_t sleeper(const char *path, int ready)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		touch(path);
		if (write(ready, "+", 1) != 1)
			die("write");
		for (;;)
			pause();
	}
	return pid;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: crowd N PATH\n");
		return 2;
	}
	long n = loop_count(argv[1]);
	pid_t *pids = calloc((size_t)n, sizeof(*pids));
	int ready[2];
	char byte;

	if (!pids || pipe(ready) != 0)
		die("set-up");
	touch(argv[2]);
	for (long i = 1; i < n; i++)
		pids[i] = sleeper(argv[2], ready[1]);
	for (long i = 1; i < n; i++)
		if (read(ready[0], &byte, 1) != 1)
			die("read");
	printf("ready %ld\n", n);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (long i = 1; i < n; i++)
		kill(pids[i], SIGKILL);
	for (long i = 1; i < n; i++)
		waitpid(pids[i], NULL, 0);
	return 0;
}
