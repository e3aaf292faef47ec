/* Shared by the benchmark guests: the clock, the report line, and how to give up. */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A loop is timed in this many parts, so that the median leaves out those in which something else ran. */
#define PARTS 16

struct timing {
	double ns_per_call[PARTS];
	int parts;
	long calls;
};

/* How many calls part number `part` of `n` calls has: all parts get the same, the last the rest. */
static inline long part_of(long n, int part)
{
	long each = n / PARTS;

	if (each == 0)
		return part == 0 ? n : 0;
	return part == PARTS - 1 ? n - each * (PARTS - 1) : each;
}

static inline void add_part(struct timing *t, double ns, long calls)
{
	t->ns_per_call[t->parts++] = ns / (double)calls;
	t->calls += calls;
}

static inline int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The one line the harness reads. `check` is what the loop saw, so that a loop that did nothing is noticed. */
static inline void report(struct timing *t, long long check)
{
	qsort(t->ns_per_call, (size_t)t->parts, sizeof(t->ns_per_call[0]), by_size);
	printf("ns_per_call=%.3f calls=%ld check=%lld\n", t->ns_per_call[t->parts / 2], t->calls, check);
}

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "wrong result");
	exit(1);
}

static inline long loop_count(const char *text)
{
	long n = strtol(text, NULL, 10);

	if (n < 1) {
		fprintf(stderr, "bad loop count: %s\n", text);
		exit(2);
	}
	return n;
}

#endif
