/* Preloaded into a process, moves its wall clock by CHAOS_CLOCK_SHIFT_S seconds; with CHAOS_CLOCK_FLIP_S the sign changes every so many
   seconds, as a badly set time server would have it. Clocks that only count are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real_gettime)(clockid_t, struct timespec *);

static int ask(clockid_t id, struct timespec *out) {
  if (!real_gettime) real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  return real_gettime(id, out);
}

static long shift(void) {
  const char *by = getenv("CHAOS_CLOCK_SHIFT_S"), *flip = getenv("CHAOS_CLOCK_FLIP_S");
  long seconds = by ? atol(by) : 0, every = flip ? atol(flip) : 0;
  struct timespec now;
  if (every > 0 && ask(CLOCK_MONOTONIC, &now) == 0 && (now.tv_sec / every) % 2) return -seconds;
  return seconds;
}

int clock_gettime(clockid_t id, struct timespec *out) {
  int code = ask(id, out);
  if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += shift();
  return code;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
