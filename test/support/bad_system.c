// Preloaded into a process under test: makes its disk slow to sync and to append to, and its wall clock wrong.
//
// The file named by OG_FAULTS holds "SYNC_MS CLOCK_OFFSET_S [APPEND_MS]"; it is read at most once in 50 ms.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long sync_ms, offset_s, append_ms;

static int real_clock(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  return real(id, t);
}

static void look(void) {
  static struct timespec last;
  struct timespec now;
  real_clock(CLOCK_MONOTONIC, &now);
  if (now.tv_sec == last.tv_sec && now.tv_nsec - last.tv_nsec < 50000000) return;
  last = now;
  const char *path = getenv("OG_FAULTS");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return;
  long sync = 0, offset = 0, append = 0;
  if (fscanf(file, "%ld %ld %ld", &sync, &offset, &append) >= 2) {
    sync_ms = sync;
    offset_s = offset;
    append_ms = append;
  }
  fclose(file);
}

int clock_gettime(clockid_t id, struct timespec *t) {
  int result = real_clock(id, t);
  if (id == CLOCK_REALTIME) {
    look();
    t->tv_sec += offset_s;
  }
  return result;
}

static int slow(const char *name, int descriptor) {
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  look();
  usleep(sync_ms * 1000);
  return real(descriptor);
}

int fsync(int descriptor) { return slow("fsync", descriptor); }
int fdatasync(int descriptor) { return slow("fdatasync", descriptor); }

// A journal is the one file that og_ros appends to.
ssize_t write(int descriptor, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  look();
  int flags = append_ms ? fcntl(descriptor, F_GETFL) : 0;
  if (flags > 0 && (flags & O_APPEND)) usleep(append_ms * 1000);
  return real(descriptor, data, size);
}

// Waits until a wall time end as the kernel ends them: sooner when the clock is set forward, later when it is set back.
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  if (end->tv_sec < 1000000000) return real(condition, mutex, end);  // of the monotonic clock, which nobody sets
  struct timespec now;
  real_clock(CLOCK_REALTIME, &now);
  look();
  long long left = (end->tv_sec - now.tv_sec - offset_s) * 1000000000LL + end->tv_nsec - now.tv_nsec;
  if (left <= 0) return ETIMEDOUT;
  long long slice = left < 50000000 ? left : 50000000;
  now.tv_sec += (now.tv_nsec + slice) / 1000000000;
  now.tv_nsec = (now.tv_nsec + slice) % 1000000000;
  int result = real(condition, mutex, &now);
  return result == ETIMEDOUT && slice < left ? 0 : result;  // a spurious wakeup: the caller looks, and waits again
}
