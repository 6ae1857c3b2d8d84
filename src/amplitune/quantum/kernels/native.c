/* A token's whole forward and backward through a real circuit while its state is in cache: entry points.

   Compiled when it is first used; see native_build.py. The arithmetic is in native_kernel.h, once for float and
   once for double; this file holds what both share, the tables, and the threads. */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define WIDEST 4
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define WIDEST 3
#else
#define VECTOR_BYTES 16
#define WIDEST 3
#endif
/* WIDEST: a pass over the state rotates at most so many wires, 2**WIDEST vectors in registers. */

#define INLINE static inline __attribute__((always_inline))
#define MOST_BITS 24

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* What stands after it reads memory again instead of keeping it in registers, of which there are too few. */
#define REREAD __asm__ volatile("" ::: "memory")

/* Lanes i XOR b: a wire inside a vector swaps lanes. */
#define LANES_2(b) 0 ^ b, 1 ^ b
#define LANES_4(b) LANES_2(b), 2 ^ b, 3 ^ b
#define LANES_8(b) LANES_4(b), 4 ^ b, 5 ^ b, 6 ^ b, 7 ^ b
#define LANES_16(b) LANES_8(b), 8 ^ b, 9 ^ b, 10 ^ b, 11 ^ b, 12 ^ b, 13 ^ b, 14 ^ b, 15 ^ b
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(v, mask_type, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define SHUFFLE(v, mask_type, ...) __builtin_shuffle(v, (mask_type){__VA_ARGS__})
#endif

enum { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };

/* The tables of a program, made once by native.py, which has the same structure. */
typedef struct {
  int32_t n_qubits;      /* wires of the circuit */
  int32_t bits;          /* wires with those added so that the state fills a vector */
  int32_t blocks;
  int32_t n_words;
  int32_t passes;        /* passes over the state for one block of rotations */
  int32_t n_steps;
  int32_t work;          /* vectors that the folding needs */
  int32_t leaves;        /* vectors that the folding ends in, at the start of its work */
  const int32_t *radix;  /* per pass: the number of wires, from the least significant that is no lane */
  const int32_t *steps;  /* per folding step: radix, length, source (-1: the state), destination, mask of signs */
  const int32_t *source; /* (E psi)_i = sign_i psi_source(i); NULL with one block */
  const int8_t *sign;    /* NULL if all are +1 */
  const int32_t *word;   /* per word: the mask of its wires */
  const int32_t *place;  /* per word, then for the norm: the place of its sum in the leaves */
  const int8_t *word_sign;
} Tables;

typedef struct {
  const Tables *tables;
  const void *x;
  int64_t row_stride, tokens, features;
  int32_t x_type, circuits;
  const void *angles; /* compute dtype, (circuits, blocks, n_qubits) */
  const void *grad_z;
  void *z, *dx, *dangles; /* dx NULL: not wanted; dangles NULL: forward only */
} Call;

/* Memory that is needed soon, fetched a few cache lines at a time between the arithmetic: all at once the fetches
   would fill the queue and be waited for. */
typedef struct {
  const char *at, *end;
  int64_t step;
  int write;
} Ahead;

INLINE void fetch(Ahead *ahead) {
  for (int64_t done = 0; done < ahead->step && ahead->at < ahead->end; done += 64, ahead->at += 64)
    if (ahead->write)
      __builtin_prefetch(ahead->at, 1, 2);
    else
      __builtin_prefetch(ahead->at, 0, 2);
}

/* Work space of a thread: kept, because asking for it costs more than a token. */
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
typedef struct {
  size_t size;
  char *memory;
} Scratch;

static void scratch_free(void *pointer) {
  free(((Scratch *)pointer)->memory);
  free(pointer);
}

static void scratch_make_key(void) { pthread_key_create(&scratch_key, scratch_free); }

static char *scratch(size_t size) {
  pthread_once(&scratch_once, scratch_make_key);
  Scratch *own = pthread_getspecific(scratch_key);
  if (!own) {
    own = calloc(1, sizeof(Scratch));
    if (!own) return NULL;
    pthread_setspecific(scratch_key, own);
  }
  if (own->size < size) {
    free(own->memory);
    own->size = 0;
    if (posix_memalign((void **)&own->memory, 64, size)) own->memory = NULL;
    if (own->memory) own->size = size;
  }
  return own->memory;
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#define REAL float
#define BITS uint32_t
#define MANTISSA 23
#define EXPONENT 0xFFu
#define N(name) JOIN(name, _float)
#if VECTOR_BYTES == 64
#define LANES 16
#define LANE_BITS 4
#elif VECTOR_BYTES == 32
#define LANES 8
#define LANE_BITS 3
#else
#define LANES 4
#define LANE_BITS 2
#endif
#include "native_kernel.h"
#include "native_token.h"
#include "native_projection.h"
#undef REAL
#undef BITS
#undef MANTISSA
#undef EXPONENT
#undef N
#undef LANES
#undef LANE_BITS

#define REAL double
#define BITS uint64_t
#define MANTISSA 52
#define EXPONENT 0x7FFull
#define N(name) JOIN(name, _double)
#if VECTOR_BYTES == 64
#define LANES 8
#define LANE_BITS 3
#elif VECTOR_BYTES == 32
#define LANES 4
#define LANE_BITS 2
#else
#define LANES 2
#define LANE_BITS 1
#endif
#include "native_kernel.h"
#include "native_token.h"
#include "native_projection.h"

/* The OpenMP pool that torch has already started: a second one would spin against it. Set by native.py. */
typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned);
static Parallel parallel;
static int (*thread_number)(void), (*team_size)(void);

void amplitune_set_pool(void *start, void *number, void *size) {
  parallel = (Parallel)start;
  thread_number = (int (*)(void))number;
  team_size = (int (*)(void))size;
}

typedef struct {
  const Call *call;
  void (*work)(const Call *, int64_t, int64_t, double *, int *);
  double *sums; /* per thread, of the angles' gradients */
  size_t stride;
  int failed;
} Team;

static void member(void *argument) {
  Team *team = argument;
  int64_t me = thread_number(), all = team_size(), tokens = team->call->tokens;
  team->work(team->call, tokens * me / all, tokens * (me + 1) / all, team->sums + me * team->stride, &team->failed);
}

static int run(const Call *call, int64_t threads, void (*work)(const Call *, int64_t, int64_t, double *, int *)) {
  const Tables *t = call->tables;
  int64_t wires = (int64_t)call->circuits * t->blocks * t->bits;
  /* To wake a thread costs some microseconds, so each must have 2**15 amplitudes to work on; one token never
     wakes any. */
  int64_t enough = 1 + ((call->tokens * call->circuits * t->blocks) << t->bits >> 15);
  threads = !parallel ? 1 : threads < enough ? threads : enough;
  if (threads > call->tokens) threads = call->tokens;
  Team team = {call, work, NULL, 0, 0};
  if (call->dangles) {
    team.stride = (size_t)wires + 16; /* two threads' sums do not share a cache line */
    team.sums = calloc(team.stride * (threads > 0 ? threads : 1), sizeof(double));
    if (!team.sums) return 1;
  }
  if (threads > 1)
    parallel(member, &team, (unsigned)threads, 0);
  else if (call->tokens)
    work(call, 0, call->tokens, team.sums, &team.failed);
  if (call->dangles)
    for (int64_t circuit = 0, k = 0; circuit < (int64_t)call->circuits * t->blocks; circuit++)
      for (int wire = 0; wire < t->n_qubits; wire++, k++) {
        double sum = 0;
        for (int64_t thread = 0; thread < (threads > 0 ? threads : 1); thread++)
          sum += team.sums[thread * team.stride + circuit * t->bits + t->n_qubits - 1 - wire];
        if (work == work_float)
          ((float *)call->dangles)[k] = (float)(sum / 2);
        else
          ((double *)call->dangles)[k] = sum / 2;
      }
  free(team.sums);
  return team.failed;
}

/* dL/dx of many tokens is memory that the system has not given out yet: a page at a time that costs more than the
   arithmetic, so large pages are asked for, where there are any. */
static void large_pages(void *start, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = (uintptr_t)1 << 21, first = ((uintptr_t)start + page - 1) & ~(page - 1);
  const uintptr_t end = ((uintptr_t)start + size) & ~(page - 1);
  if (start && end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
  (void)start, (void)size;
#endif
}

/* Returns 0, or 1 if there is not enough memory. dangles NULL: forward; dx NULL: not wanted. */
int amplitune_run(const Tables *tables, int32_t compute_double, const void *x, int32_t x_type, int64_t row_stride,
                  int64_t tokens, int64_t features, const void *angles, int32_t circuits, const void *grad_z, void *z,
                  void *dx, void *dangles, int64_t threads) {
  Call call = {tables, x, row_stride, tokens, features, x_type, circuits, angles, grad_z, z, dx, dangles};
  large_pages(dx, (size_t)(tokens * features) * (x_type == FLOAT64 ? 8 : x_type == FLOAT32 ? 4 : 2));
  return run(&call, threads, compute_double ? work_double : work_float);
}

/* A projection whose circuit and weights stay: native.py fills it in once. */
typedef struct {
  const Tables *tables;
  const void *angles, *weight, *bias;
  double scaling;
  int64_t features, d_out;
  int32_t circuits, compute_double, x_type, base_type;
} Bound;

/* Runs the tokens forward and projects their readouts up; x, base and out are contiguous. Returns as amplitune_run. */
int amplitune_project(const Bound *bound, const void *x, int64_t tokens, const void *base, void *out, int64_t threads) {
  const Bound b = *bound;
  const int64_t columns = (int64_t)b.circuits * b.tables->n_words;
  const int64_t row = b.d_out * (b.base_type == FLOAT64 ? 8 : b.base_type == FLOAT32 ? 4 : 2);
  char *z = malloc((size_t)(tokens * columns) * (b.compute_double ? 8 : 4));
  if (!z) return 1;
  Call call = {b.tables, x, b.features, tokens, b.features, b.x_type, b.circuits, b.angles, NULL, z, NULL, NULL};
  const int failed = run(&call, threads, b.compute_double ? work_double : work_float);
  for (int64_t token = 0; !failed && token < tokens; token++) {
    const char *from = (const char *)base + token * row;
    char *to = (char *)out + token * row;
    if (b.compute_double)
      project_double((double *)z + token * columns, b.weight, b.bias, b.scaling, from, to, b.base_type, b.d_out, columns);
    else
      project_float((float *)z + token * columns, b.weight, b.bias, (float)b.scaling, from, to, b.base_type, b.d_out,
                    columns);
  }
  free(z);
  return failed;
}

/* Lanes of a vector and the widest pass, which the tables depend on. */
int amplitune_lanes(int32_t compute_double) { return VECTOR_BYTES / (compute_double ? 8 : 4); }
int amplitune_widest(void) { return WIDEST; }

/* Whether the compiler has a half-precision type. */
int amplitune_has_half(void) {
#if defined(__FLT16_MAX__)
  return 1;
#else
  return 0;
#endif
}
